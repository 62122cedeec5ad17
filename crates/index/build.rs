//! Compiles what FAISS's C API lacks, against the headers that `faiss-sys` installed.

fn main() {
    let files = ["src/faiss.cpp", "src/large_pages.cpp"];
    files.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    let faiss = std::env::var("DEP_FAISS_C_ROOT").expect("faiss-sys says where it installed FAISS");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag_if_supported("-fopenmp")
        .include(format!("{faiss}/include"))
        .files(files)
        .compile("membox_faiss");
}
