//! What a card would let pass, or answer with a bare number, is an error of a software card that says where it is.

use cudarc::driver::sys::{CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg, sys};
use cudarc::nvrtc::Ptx;
use membox_software_card::faults::complaint;
use membox_software_card::on_card;
use std::sync::Arc;

/// A kernel of one address. It has %rd1, the address; %r1, the thread; and %r2 to %r9, %rd2 to %rd9, %p1 to %p3.
fn kernel(context: &Arc<CudaContext>, body: &str) -> CudaFunction {
    let ptx = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry try(\n.param .u64 try_param_0\n)\n{{\n\
         .reg .pred %p<4>;\n.reg .b32 %r<10>;\n.reg .b64 %rd<10>;\n.shared .align 4 .b8 own[256];\n\
         ld.param.u64 %rd1, [try_param_0];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\n{body}\nret;\n}}\n"
    );
    context.load_module(Ptx::from_src(ptx)).expect("a module").load_function("try").expect("a kernel")
}

struct Try {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
}

impl Try {
    fn new() -> Self {
        let context = CudaContext::new(0).expect("a card");
        // SAFETY: each test says itself what waits for what.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().expect("a stream");
        Self { context, stream }
    }

    /// Runs a kernel of 64 threads over an address, and waits.
    fn run(&self, body: &str, address: u64) -> Result<(), DriverError> {
        let function = kernel(&self.context, body);
        let size = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: what is not sound is what the card is to find.
        unsafe { self.stream.launch_builder(&function).arg(&address).launch(size)? };
        self.stream.synchronize()
    }

    /// Its error, and what the card says.
    fn finds(&self, body: &str, address: u64, code: CUresult, says: &str) {
        assert_eq!(self.run(body, address), Err(DriverError(code)));
        let said = complaint();
        assert!(said.contains(says) && said.starts_with("try, instruction"), "{said}");
        assert_eq!(self.stream.synchronize(), Err(DriverError(code)), "it is sticky");
        assert_eq!(self.stream.alloc_zeros::<u8>(1).err(), Some(DriverError(code)), "for every call");
    }

    fn address(&self, count: usize) -> u64 {
        let memory = self.stream.alloc_zeros::<u32>(count).expect("memory");
        self.stream.synchronize().expect("a card");
        let address = memory.device_ptr(&self.stream).0;
        std::mem::forget(memory);
        address
    }
}

const STORE: &str = "add.s64 %rd3, %rd1, %rd2;\nst.global.u32 [%rd3], %r1;";

#[test]
fn what_is_sound_runs() {
    on_card!("", || {
        let card = Try::new();
        let memory = card.stream.alloc_zeros::<u32>(64).expect("memory");
        // Thread t adds the numbers below it, in a loop that ends for each at its own time.
        let body = "mov.u32 %r2, 0;\nmov.u32 %r3, 0;\n$L1:\nsetp.ge.u32 %p1, %r2, %r1;\n@%p1 bra $L2;\n\
                    add.s32 %r3, %r3, %r2;\nadd.s32 %r2, %r2, 1;\nbra.uni $L1;\n$L2:\nadd.s64 %rd3, %rd1, %rd2;\n\
                    atom.global.add.u32 %r4, [%rd3], %r3;";
        card.run(body, memory.device_ptr(&card.stream).0).expect("sound");
        let found = card.stream.clone_dtoh(&memory).expect("a copy");
        card.stream.synchronize().expect("a card");
        assert!(found.into_iter().eq((0..64).map(|t: u32| t * t.saturating_sub(1) / 2)));
    });
}

#[test]
fn addresses_outside_of_an_allocation() {
    on_card!("", || {
        let card = Try::new();
        let says = "thread 63 of block 0,0,0: 4 bytes from";
        card.finds(STORE, card.address(63), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, says);
    });
}

#[test]
fn memory_that_was_freed() {
    on_card!("", || {
        let card = Try::new();
        let memory = card.stream.alloc_zeros::<u32>(64).expect("memory");
        let address = memory.device_ptr(&card.stream).0;
        drop(memory);
        card.finds(STORE, address, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "memory that was freed");
    });
}

#[test]
fn memory_that_was_never_written() {
    on_card!("", || {
        let card = Try::new();
        // SAFETY: that nothing writes it is what the card is to find.
        let memory = unsafe { card.stream.alloc::<u32>(64) }.expect("memory");
        let address = memory.device_ptr(&card.stream).0;
        let says = "is read and was never written";
        card.finds("ld.global.u32 %r2, [%rd1];", address, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, says);
    });
}

#[test]
fn work_of_another_stream_that_nobody_waited_for() {
    on_card!("", || {
        let card = Try::new();
        let other = card.context.new_stream().expect("a stream");
        let memory = other.clone_htod(&[7u32; 64]).expect("memory");
        let (address, says) = (memory.device_ptr(&other).0, "is read and was never written");
        card.finds("ld.global.u32 %r2, [%rd1];", address, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, says);
    });
}

#[test]
fn addresses_that_are_not_aligned() {
    on_card!("", || {
        let card = Try::new();
        let (address, says) = (card.address(64) + 2, "is no address of 4 bytes");
        card.finds("st.global.u32 [%rd1], %r1;", address, CUresult::CUDA_ERROR_MISALIGNED_ADDRESS, says);
    });
}

#[test]
fn races_in_shared_memory() {
    on_card!("", || {
        let card = Try::new();
        let body = "mov.u32 %r2, own;\nst.shared.u32 [%r2], %r1;";
        card.finds(body, 0, CUresult::CUDA_ERROR_LAUNCH_FAILED, "a race: thread 0 used byte 0");
    });
}

#[test]
fn a_barrier_between_them_ends_a_race() {
    on_card!("", || {
        let card = Try::new();
        let write = "cvt.u32.u64 %r3, %rd2;\nmov.u32 %r2, own;\nadd.s32 %r4, %r2, %r3;\nst.shared.u32 [%r4], %r1;";
        let read = "ld.shared.u32 %r5, [%r2];";
        card.run(&format!("{write}\nbar.sync 0;\n{read}"), 0).expect("sound");
        card.finds(&format!("{write}\n{read}"), 0, CUresult::CUDA_ERROR_LAUNCH_FAILED, "a race");
    });
}

#[test]
fn barriers_that_not_all_threads_meet() {
    on_card!("", || {
        let card = Try::new();
        let body = "setp.lt.u32 %p1, %r1, 7;\n@%p1 bar.sync 0;";
        card.finds(body, 0, CUresult::CUDA_ERROR_LAUNCH_FAILED, "not all threads of the warp are at the barrier");
    });
}

#[test]
fn barriers_that_are_not_the_same_for_all_warps() {
    on_card!("", || {
        let card = Try::new();
        let body = "setp.lt.u32 %p1, %r1, 32;\n@%p1 bra $L1;\nbar.sync 0;\nbra.uni $L2;\n$L1:\nbar.sync 0;\n$L2:";
        card.finds(body, 0, CUresult::CUDA_ERROR_LAUNCH_FAILED, "warps wait at different barriers");
    });
}

#[test]
fn shuffles_without_all_of_their_threads() {
    on_card!("", || {
        let card = Try::new();
        let body = "setp.lt.u32 %p1, %r1, 7;\n@%p1 shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, -1;";
        card.finds(body, 0, CUresult::CUDA_ERROR_LAUNCH_FAILED, "a shuffle without all of the threads");
    });
}

#[test]
fn copies_that_nobody_waited_for() {
    on_card!("", || {
        let card = Try::new();
        let memory = card.stream.clone_htod(&[7u8; 4]).expect("memory");
        let mut found = [0u8; 4];
        card.stream.memcpy_dtoh(&memory, &mut found).expect("a copy");
        assert_eq!(found, [0xa5; 4], "it is not there yet");
        card.stream.synchronize().expect("a card");
        assert_eq!(found, [7; 4]);
    });
}

#[test]
fn what_cannot_be_recorded() {
    on_card!("", || {
        let card = Try::new();
        let begin = || {
            card.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).expect("a recording");
        };
        let spoilt = || {
            let end = card.stream.end_capture(sys::CUgraphInstantiate_flags(0));
            assert_eq!(end.err(), Some(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)));
        };
        let refused = Some(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
        begin();
        assert_eq!(card.stream.synchronize().err(), refused);
        spoilt();
        begin();
        assert_eq!(card.stream.alloc_zeros::<u8>(1).err(), refused);
        spoilt();
        // A kernel's first launch loads it.
        let function = kernel(&card.context, "");
        let size = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: the kernel does nothing.
        let launch = || unsafe { card.stream.launch_builder(&function).arg(&0u64).launch(size).map(|_| ()) };
        begin();
        assert_eq!(launch().err(), refused);
        spoilt();
        launch().expect("a launch");
        begin();
        launch().expect("a launch");
        let graph = card.stream.end_capture(sys::CUgraphInstantiate_flags(0)).expect("a recording").expect("a graph");
        graph.launch().expect("a launch");
        card.stream.synchronize().expect("a card");
    });
}

#[test]
fn threads_have_contexts_of_their_own() {
    on_card!("", || {
        let card = Try::new();
        let (stream, no_context) = (card.stream.cu_stream() as usize, CUresult::CUDA_ERROR_INVALID_CONTEXT);
        std::thread::scope(|scope| {
            // SAFETY: a stream that is there.
            let other = scope.spawn(move || unsafe { sys::cuStreamSynchronize(stream as *mut _) });
            assert_eq!(other.join().expect("a thread"), no_context);
        });
    });
}

#[test]
fn instructions_that_it_does_not_know() {
    on_card!("", || {
        let card = Try::new();
        let ptx =
            ".version 8.0\n.target sm_80\n.visible .entry a(.param .u64 b)\n{\ntanh.approx.f32 %f1, %f2;\nret;\n}";
        let refused = card.context.load_module(Ptx::from_src(ptx)).err();
        assert_eq!(refused, Some(DriverError(CUresult::CUDA_ERROR_INVALID_PTX)));
        assert!(card.run("", 0).is_ok(), "and nothing else is the worse for it");
    });
}
