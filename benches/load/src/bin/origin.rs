//! `origin ADDRESS`: see the module of the same name.

fn main() -> std::io::Result<()> {
    let listen = std::env::args().nth(1).and_then(|text| text.parse().ok());
    load::origin::run(listen.expect("usage: origin ADDRESS:PORT"))
}
