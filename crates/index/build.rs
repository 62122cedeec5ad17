//! Compiles the one thing that FAISS's C API lacks, against the headers that `faiss-sys` installed.

fn main() {
    println!("cargo:rerun-if-changed=src/faiss_hnsw.cpp");
    let faiss = std::env::var("DEP_FAISS_C_ROOT").expect("faiss-sys says where it installed FAISS");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag_if_supported("-fopenmp")
        .include(format!("{faiss}/include"))
        .file("src/faiss_hnsw.cpp")
        .compile("membox_faiss_hnsw");
}
