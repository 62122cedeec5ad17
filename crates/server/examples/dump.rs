//! Writes the document.
fn main() {
    println!("{:#}", membox_server::openapi().expect("the document"));
}
