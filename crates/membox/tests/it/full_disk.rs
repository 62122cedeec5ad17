//! A file system without a free byte: what frees room is done, and what adds is refused. It is a real one, of a few MiB
//! of memory, in a mount namespace of its own.

use crate::common::{Server, membox, post, real_models};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small file system, which is gone when this is dropped.
struct SmallDisk {
    /// Holds the namespace.
    holder: Child,
    /// Where it is in the namespace.
    data: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this system lets nobody mount anything.
    fn new(mib: usize) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let script = format!("mount -t tmpfs -o size={mib}m,mode=700 tmpfs \"$0\" && echo mounted && exec sleep 600");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = [0; 7];
        let is_mounted = holder.stdout.take().is_some_and(|mut out| out.read_exact(&mut said).is_ok());
        if !is_mounted {
            eprintln!("skipped: this system lets nobody mount a small file system");
            let _ = holder.wait();
            return None;
        }
        Some(Self { holder, data, _folder: folder })
    }

    /// The data folder as it is seen from outside of the namespace.
    fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.data.strip_prefix("/").expect("an absolute path"))
    }

    /// A command of the binary, in the namespace.
    fn membox(&self) -> Command {
        let own = membox(&self.data);
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().to_string());
        command.args(["--user", "--mount", "--preserve-credentials", "sh", "-c", "cd \"$0\" && exec \"$@\""]);
        command.arg(self.data.parent().expect("a folder")).arg(own.get_program()).args(own.get_args());
        for (name, _) in own.get_envs() {
            command.env_remove(name);
        }
        command
    }

    fn server(&self) -> Server {
        let mut command = self.membox();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--device", "cpu"]);
        Server::run(command).expect("the server ended before it listened")
    }

    /// Takes every byte that is free.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        let free = rustix::fs::statvfs(self.outside()).expect("its size").f_bavail;
        assert_eq!(free, 0, "nothing is left");
    }

    fn give_room(&self) {
        fs::remove_file(self.filler()).expect("a removal");
    }

    fn filler(&self) -> PathBuf {
        self.outside().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Records that are about a KiB each.
fn records(ids: impl Iterator<Item = usize>, user: Option<&str>) -> Value {
    let record = |id: usize| {
        let text = format!("record {id} {}", "word ".repeat(200));
        json!({"id": format!("{}{id}", user.unwrap_or("r")), "text": text, "vector": [1, id], "user": user})
    };
    json!({"records": ids.map(record).collect::<Vec<_>>()})
}

fn refused(server: &Server) {
    // More than what is free within the files could hold.
    let (status, answer) = server.call("POST", "/v1/collections/kept/records", &records(0..1000, Some("new")));
    assert_eq!(status, 507, "{answer}");
    assert!(answer["detail"].as_str().expect("a reason").contains("the disk is full"), "{answer}");
}

fn ids(from: usize, count: usize) -> Value {
    json!({"ids": (from..from + count).map(|i| format!("r{i}")).collect::<Vec<_>>()})
}

/// A backup that was made meanwhile is whole.
fn verify(disk: &SmallDisk) {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy");
    let made = disk.membox().arg("backup").arg(&copy).output().expect("the binary");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(!copy.join("reserve").exists(), "a copy needs no reserve");
    let verified = membox(&copy).arg("verify").output().expect("the binary");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn without_a_free_byte_everything_can_be_deleted_and_nothing_is_added() {
    let Some(disk) = SmallDisk::new(64) else { return };
    std::os::unix::fs::symlink(real_models(), disk.outside().join("models")).expect("a link");
    let server = disk.server();
    for name in ["kept", "large", "small"] {
        assert_eq!(server.call("PUT", &format!("/v1/collections/{name}"), &json!({"dimension": 2})).0, 201);
    }
    post(&server, "/v1/collections/kept/records", &records(0..300, None));
    post(&server, "/v1/collections/kept/records", &records(0..50, Some("lena")));
    post(&server, "/v1/collections/small/records", &records(0..50, None));
    // More than goes in one commit.
    for from in [0, 1000, 2000] {
        post(&server, "/v1/collections/large/records", &records(from..from + 1000, None));
    }
    let lines: Vec<Value> = (0..20).map(|i| json!({"role": "user", "content": format!("line {i}")})).collect();
    for session in ["s", "of-lena"] {
        let user = if session == "s" { "otto" } else { "lena" };
        let body = json!({"user": user, "messages": lines});
        post(&server, &format!("/v1/sessions/{session}/messages"), &body);
    }
    post(&server, "/v1/sessions/s/queue", &json!({"items": [{"say": "hello"}]}));
    disk.fill();
    refused(&server);
    assert_eq!(post(&server, "/v1/collections/kept/records:delete", &ids(0, 100))["deleted"], 100);
    refused(&server);
    disk.fill();
    assert_eq!(server.call("DELETE", "/v1/collections/kept/records/r100", &Value::Null).0 / 100, 2);
    let taken = post(&server, "/v1/sessions/s/queue:take", &json!({}));
    let input = taken["items"][0]["id"].as_str().expect("what waits can be taken");
    assert_eq!(server.call("DELETE", &format!("/v1/sessions/s/queue/{input}"), &Value::Null).0 / 100, 2);
    disk.fill();
    assert_eq!(server.call("DELETE", "/v1/sessions/s", &Value::Null).0 / 100, 2);
    disk.fill();
    assert_eq!(server.call("DELETE", "/v1/collections/small", &Value::Null).0 / 100, 2);
    disk.fill();
    assert_eq!(server.job("/v1/users/lena/erase", &json!({}))["records"], 70);
    disk.fill();
    assert_eq!(server.call("DELETE", "/v1/collections/large", &Value::Null).0 / 100, 2);
    verify(&disk);
    // It also starts and stops without a free byte.
    disk.fill();
    server.stop();
    disk.fill();
    let server = disk.server();
    refused(&server);
    assert_eq!(post(&server, "/v1/collections/kept/records:delete", &ids(101, 99))["deleted"], 99);
    let (_, page) = server.call("GET", "/v1/collections/kept/records?limit=200", &Value::Null);
    assert_eq!(page["records"].as_array().map(Vec::len), Some(100), "what was not deleted is there");
    disk.give_room();
    post(&server, "/v1/collections/kept/records", &records(0..1000, Some("new")));
    assert!(is_whole(&disk.outside()), "the reserve is back");
    verify(&disk);
    server.stop();
}

fn is_whole(data: &Path) -> bool {
    fs::metadata(data.join("reserve")).is_ok_and(|reserve| reserve.len() >= 12 << 20)
}
