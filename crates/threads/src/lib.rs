//! Threads whose panics are heard and survived, and whose work ends when nobody waits for it.
//!
//! A panic is a fault of membox itself. It must not pass in silence, and it must not take more with it than the
//! request that met it:
//!
//! - [`hear_panics`] makes every panic, on whatever thread, an error in the log with the thread's name, the place and
//!   the backtrace, and counts it in `membox_panics_total`;
//! - [`guard`] runs the work of one request, and gives a panic in it as an error;
//! - [`spawn`] starts a thread by its name. One that ends by a panic all the same says so.
//!
//! [`budget`] tells a thread whose request it works on, whether anybody still waits for it, and how much memory it may
//! have; [`room`] is what tenants share that memory by.
//!
//! # Example
//!
//! ```
//! let answer = membox_threads::guard(|| [1, 2, 3].iter().sum::<i32>());
//! assert_eq!(answer.ok(), Some(6));
//! let broken = membox_threads::guard(|| -> i32 { panic!("as it should") });
//! assert_eq!(broken.map_err(|panicked| panicked.message), Err("as it should".to_owned()));
//! ```

pub mod budget;
pub mod room;

use std::any::Any;
use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{Builder, JoinHandle};

/// The counter of panics, by the kind of their threads.
pub const PANICS: &str = "membox_panics_total";

/// Work that was broken off by a panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: {message}")]
pub struct Panicked {
    /// What the panic said.
    pub message: String,
}

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self { message: text.unwrap_or_else(|| "no message".to_owned()) }
    }
}

/// Runs `work`, and gives a panic in it as an error. What `work` has changed by then stays as it is: the caller drops
/// it, or says that it is sound.
pub fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked::new(&*payload))
}

/// Starts a thread of a name, which is in the log beside its panics.
#[expect(clippy::disallowed_methods, reason = "this is the thread that hears panics")]
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    let name = name.into();
    Builder::new().name(name.clone()).spawn(move || match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(payload) => {
            tracing::error!(thread = name, "the thread has ended: what it did is not done any more");
            resume_unwind(payload)
        }
    })
}

/// Has every panic of the process logged and counted from now on, instead of printed.
#[expect(clippy::disallowed_methods, reason = "this is the hook that logs and counts")]
pub fn hear_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let current = std::thread::current();
        let thread = current.name().unwrap_or("unnamed");
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::force_capture();
        metrics::counter!(PANICS, "thread" => kind(thread).to_owned()).increment(1);
        tracing::error!(thread, place, %backtrace, "a thread panicked: {message}");
    }));
}

/// The kind of a thread: its name without its number, of which there are as many as cores.
fn kind(thread: &str) -> &str {
    match thread.rsplit_once('-') {
        Some((kind, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => kind,
        _ => thread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[test]
    fn threads_of_a_kind_are_counted_together() {
        let names = ["read-12", "writer", "job-reembed", "tokio-rt-worker", "-"];
        assert_eq!(names.map(kind), ["read", "writer", "job-reembed", "tokio-rt-worker", "-"]);
    }

    #[test]
    fn a_panic_is_an_error_whatever_it_says() {
        let number = 7;
        assert_eq!(guard(|| number), Ok(7));
        assert_eq!(guard(|| -> u8 { panic!("number {number}") }).expect_err("a panic").message, "number 7");
        let odd = guard(|| std::panic::panic_any(number)).expect_err("a panic");
        assert_eq!(odd.to_string(), "it panicked: no message");
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a log").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the hook of the tests is put back")]
    fn a_panic_is_in_the_log_with_its_thread_its_place_and_its_backtrace() {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        let before = std::panic::take_hook();
        hear_panics();
        let guarded = spawn("read-3", || guard(|| panic!("a fault of its own"))).expect("a thread").join();
        let ended = spawn("writer", || panic!("nobody guards this")).expect("a thread").join();
        std::panic::set_hook(before);
        assert!(guarded.expect("the thread goes on").is_err());
        assert!(ended.is_err());
        let text = String::from_utf8(log.0.lock().expect("a log").clone()).expect("text");
        for part in [
            "ERROR",
            "a thread panicked: a fault of its own",
            "thread=\"read-3\"",
            "threads/src/lib.rs:",
            "membox_threads::",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(text.contains("nobody guards this") && text.contains("thread=\"writer\""), "{text}");
        assert_eq!(text.matches("the thread has ended").count(), 1, "{text}");
    }
}
