//! `cargo demo`: all of it on loopback, and a tour of what it does.

use std::process::ExitCode;
use streamgate::server::Signals;
use streamgate::yaml::Environment;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let environment = Environment::of_process();
    let store = match environment.var("REDIS_URL") {
        Some(url) if !url.is_empty() => "the Redis that REDIS_URL names",
        _ => "memory",
    };
    eprintln!("demo: starting the gateway, the auth service and the stream service on {store}");
    let mut signals = Signals::open()?;
    let demo = demo::start(environment)?;
    let jars = std::env::temp_dir().join(format!("streamgate-demo-{}", std::process::id()));
    std::fs::create_dir_all(&jars)?;
    let text = demo::tour::text(demo.edge(), demo.gateway.admin, &jars.display().to_string());
    println!("{text}");
    demo.gateway.wait(&mut signals);
    eprintln!("demo: stopping");
    demo.stop();
    std::fs::remove_dir_all(&jars)?;
    Ok(())
}
