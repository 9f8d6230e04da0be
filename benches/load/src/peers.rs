//! Other proxies in the same rounds: nginx and HAProxy as Debian packages them, with one worker, an
//! open connection to the origin, no access log, and what a gateway tells an upstream of a client.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::bench::{Bench, Place, Process, free_address};
use crate::secure::Certificate;

/// A proxy that may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `apt-get install nginx-light`.
    Nginx,
    /// `apt-get install haproxy`.
    Haproxy,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Haproxy];

    /// Its name, which is its program's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Its program, if it is installed.
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        folders.map(|folder| folder.join(self.name())).find(|program| program.is_file())
    }

    /// Starts `program`, which listens plainly and by TLS and leads to `origin`.
    pub fn start(
        self,
        bench: Bench,
        program: &Path,
        folder: &Path,
        origin: SocketAddr,
        certificate: &Certificate,
    ) -> io::Result<Process> {
        let (plain, secure) = (free_address()?, free_address()?);
        let file = folder.join(format!("{}.conf", self.name()));
        let at = Addresses { plain, secure, origin };
        let (text, words) = match self {
            Self::Nginx => (nginx(&at, folder, certificate), ["-e", "/dev/null", "-c"]),
            Self::Haproxy => (haproxy(&at, certificate), ["-q", "-db", "-f"]),
        };
        fs::write(&file, text)?;
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        let words = [words, vec![file.display().to_string()]].concat();
        let mut process = bench.start(program, &words, &[], Place::Contender, plain)?;
        process.secure = Some(secure);
        Ok(process)
    }
}

struct Addresses {
    plain: SocketAddr,
    secure: SocketAddr,
    origin: SocketAddr,
}

fn nginx(at: &Addresses, folder: &Path, certificate: &Certificate) -> String {
    let Addresses { plain, secure, origin } = at;
    let (shown, key) = (certificate.certificate.display(), certificate.key.display());
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  keepalive_requests 100000000;
  upstream origin {{ server {origin}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen {plain};
    listen {secure} ssl http2;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {shown};
    ssl_certificate_key {key};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-ID $request_id;
    }}
  }}
}}
"
    )
}

fn haproxy(at: &Addresses, certificate: &Certificate) -> String {
    let Addresses { plain, secure, origin } = at;
    let both = certificate.both.display();
    format!(
        "global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 30s
  http-reuse always
  option forwardfor
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
frontend edge
  bind {plain}
  bind {secure} ssl crt {both} alpn h2,http/1.1
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
  default_backend origin
backend origin
  server origin {origin}
"
    )
}
