//! The same over https: a certificate that the machine trusts is taken, another is not. In a child
//! process, because what is trusted is told by the environment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::origin::Origin;
use super::settings::child;

fn openssl(dir: &Path, line: &str) {
    let output =
        Command::new("openssl").args(line.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of our own and a certificate of it for this machine.
fn certify(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
    openssl(dir, &format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=leaf"));
    std::fs::write(dir.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        dir,
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 \
         -extfile leaf.ext",
    );
}

/// Speaks TLS for the plain server at `plain`, one request a connection; answers its port.
fn terminate(dir: &Path, plain: String) -> u16 {
    let certificate = CertificateDer::from_pem_file(dir.join("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(StreamOwned::new(session, visitor));
            let Some(request) = one_request(&mut reader) else { continue };
            let mut backend = TcpStream::connect(&plain).unwrap();
            backend.write_all(&request).unwrap();
            let mut answer = Vec::new();
            backend.read_to_end(&mut answer).unwrap();
            let stream = reader.get_mut();
            let _ = stream.write_all(&answer);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

/// A request, made the last of its connection; nothing if the visitor went away.
fn one_request(
    reader: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>,
) -> Option<Vec<u8>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some([head.as_bytes(), b"connection: close\r\n\r\n", &body].concat())
}

#[test]
fn a_trusted_certificate_is_taken_and_no_other() {
    let origin = Origin::new();
    origin.server.require("a-token");
    let dir = origin.room.path();
    certify(dir);
    let port = terminate(dir, origin.server.host());
    let url = format!("https://127.0.0.1:{port}/acme/app");
    let distrusted = child(&origin, &["env"]).env("CODY_FETCHING_URL", &url).output().unwrap();
    let said = String::from_utf8_lossy(&distrusted.stderr).into_owned();
    assert!(!distrusted.status.success() && said.contains("Distrusted"), "{said}");
    assert_eq!(origin.server.seen(), []);
    let trusted = child(&origin, &["env"])
        .env("CODY_FETCHING_URL", &url)
        .env("SSL_CERT_FILE", dir.join("ca.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&trusted.stdout).into_owned();
    assert!(
        trusted.status.success() && said.contains(&format!("fetched {}", origin.tip("main"))),
        "{said}{}",
        String::from_utf8_lossy(&trusted.stderr)
    );
    assert!(origin.server.seen().iter().any(|seen| seen.authorization.is_some()));
}
