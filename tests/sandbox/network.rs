//! The network, and sockets of the machine. Listeners outside count who came.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::Command;

use super::ground::*;

/// Ears of the machine.
struct Listeners {
    tcp: TcpListener,
    udp: UdpSocket,
    dir: tempfile::TempDir,
    path: UnixListener,
    datagrams: UnixDatagram,
    abstract_name: String,
    abstract_socket: UnixListener,
}

impl Listeners {
    fn open() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::Builder::new().prefix("cody-ears-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let abstract_name = format!("cody-test-{}-{:p}", std::process::id(), &dir);
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let all = Self {
            tcp: TcpListener::bind("0.0.0.0:0").unwrap(),
            udp: UdpSocket::bind("0.0.0.0:0").unwrap(),
            path: UnixListener::bind(dir.path().join("stream")).unwrap(),
            datagrams: UnixDatagram::bind(dir.path().join("datagrams")).unwrap(),
            dir,
            abstract_name,
            abstract_socket: UnixListener::bind_addr(&address).unwrap(),
        };
        // As `/dev/log` and the like: anybody may send there.
        for socket in ["stream", "datagrams"] {
            let place = all.dir.path().join(socket);
            std::fs::set_permissions(place, PermissionsExt::from_mode(0o777)).unwrap();
        }
        all.tcp.set_nonblocking(true).unwrap();
        all.udp.set_nonblocking(true).unwrap();
        all.path.set_nonblocking(true).unwrap();
        all.datagrams.set_nonblocking(true).unwrap();
        all.abstract_socket.set_nonblocking(true).unwrap();
        all
    }

    /// Who was heard.
    fn heard(&self) -> Vec<&'static str> {
        let mut buffer = [0; 16];
        let ears = [
            ("tcp", self.tcp.accept().is_ok()),
            ("udp", self.udp.recv(&mut buffer).is_ok()),
            ("path", self.path.accept().is_ok()),
            ("datagram", self.datagrams.recv(&mut buffer).is_ok()),
            ("abstract", self.abstract_socket.accept().is_ok()),
        ];
        ears.into_iter().filter(|(_, heard)| *heard).map(|(name, _)| name).collect()
    }

    /// A program that calls each of them, in every way that there is.
    fn caller(&self) -> String {
        format!(
            r#"
import socket
addresses = ['127.0.0.1', '0.0.0.0', '::1', '::ffff:127.0.0.1', '169.254.169.254', '1.1.1.1']
def attempt(name, f):
    try: f(); print('SENT', name)
    except OSError as e: pass
def tcp(host):
    with socket.create_connection((host, {tcp}), timeout=0.3) as s: s.send(b'x')
def udp(host):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (host, {udp}))
for host in addresses:
    attempt('tcp', lambda: tcp(host))
    attempt('udp', lambda: udp(host))
def unix(kind, name):
    s = socket.socket(socket.AF_UNIX, kind); s.connect(name); s.send(b'x')
attempt('path', lambda: unix(socket.SOCK_STREAM, '{dir}/stream'))
attempt('datagram', lambda: unix(socket.SOCK_DGRAM, '{dir}/datagrams'))
attempt('abstract', lambda: unix(socket.SOCK_STREAM, '\0{name}'))
def pair(kind):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    a.sendto(b'x', '{dir}/datagrams')
def pair_message(kind):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    a.sendmsg([b'x'], [], 0, '{dir}/datagrams')
def pair_connect(kind):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    a.connect('{dir}/datagrams'); a.send(b'x')
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW):
    for f in (pair, pair_message, pair_connect): attempt('pair', lambda: f(kind))
for family in (socket.AF_PACKET, getattr(socket, 'AF_VSOCK', 40), 16, 38, 44):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try: socket.socket(family, kind); print('MADE', family) if family != 16 else None
        except OSError: pass
print('tried')
"#,
            tcp = self.tcp.local_addr().unwrap().port(),
            udp = self.udp.local_addr().unwrap().port(),
            dir = self.dir.path().display(),
            name = self.abstract_name,
        )
    }
}

#[tokio::test]
async fn nobody_outside_hears_anything() {
    for sandbox in both().await {
        let listeners = Listeners::open();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("call.py"), listeners.caller()).unwrap();
        let calls = command(dir.path(), "/usr/bin/python3 call.py");
        let ran = sandbox.run(&calls).await.unwrap();
        assert_eq!(listeners.heard(), [""; 0], "{:?}: {}", sandbox.backend(), text(&ran));
        assert!(text(&ran).ends_with("tried\n"), "{}", text(&ran));
        assert!(!text(&ran).contains("MADE"), "{:?}: {}", sandbox.backend(), text(&ran));

        // The same program outside is heard by all: the ears are not deaf.
        let outside = Command::new("/usr/bin/python3").arg(dir.path().join("call.py")).output();
        let said = String::from_utf8(outside.unwrap().stdout).unwrap();
        assert_eq!(listeners.heard(), ["tcp", "udp", "path", "datagram", "abstract"], "{said}");
    }
}

#[tokio::test]
async fn there_is_no_interface_but_loopback() {
    let seen =
        prints(&bubblewrap().await, "tail -n +3 /proc/net/dev | cut -d: -f1; echo end").await;
    assert_eq!(seen.replace(' ', ""), "lo\nend\n");
    // Without a network of one's own, there is no socket at all.
    let script = "import socket\nfor f in (1, 2, 10, 16, 17, 40):\n  for k in (1, 2, 3):\n    \
         try: socket.socket(f, k); print('MADE', f)\n    except OSError: pass\n\
         a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))";
    let seen = prints(&landlock().await, &format!("/usr/bin/python3 -c \"{script}\"")).await;
    assert_eq!(seen, "b'x'\n");
}

/// Judged by strace, which sees every call that the command and all that it starts make.
#[tokio::test]
async fn strace_sees_no_connection_made_and_no_secret_opened() {
    for backend in ["bubblewrap", "landlock"] {
        let [dir, secret] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let secret = secret.path().join("canary-secret");
        std::fs::write(&secret, "x").unwrap();
        let trace = dir.path().join("trace");
        let script = format!(
            "cat {0}; /usr/bin/python3 -c \"open('{0}')\"; (exec 3<>/dev/tcp/127.0.0.1/22); \
             (exec 3<>/dev/tcp/1.1.1.1/443); echo tried",
            secret.display()
        );
        let ran = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=connect,open,openat,openat2,sendto,sendmsg", "-o"])
            .arg(&trace)
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "network::a_traced_call", "--nocapture"])
            .env("CODY_TEST_BACKEND", backend)
            .env("CODY_TEST_SCRIPT", script)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("tried"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        let trace = std::fs::read_to_string(&trace).unwrap();
        let tries: Vec<&str> =
            trace.lines().filter(|line| line.contains("canary-secret")).collect();
        assert!(tries.len() >= 2 && tries.iter().all(|line| line.contains(" = -1 E")), "{tries:?}");
        let reached = trace
            .lines()
            .filter(|line| line.contains("connect(") && line.contains("AF_INET"))
            .filter(|line| line.ends_with("= 0") || line.contains("EINPROGRESS"));
        assert_eq!(reached.collect::<Vec<_>>(), [""; 0], "{backend}");
    }
}

#[tokio::test]
#[ignore = "the other process of strace_sees_no_connection_made_and_no_secret_opened"]
async fn a_traced_call() {
    let Ok(script) = std::env::var("CODY_TEST_SCRIPT") else { return };
    let sandbox = match std::env::var("CODY_TEST_BACKEND").as_deref() {
        Ok("landlock") => landlock().await,
        _ => bubblewrap().await,
    };
    println!("{}", text(&run(&sandbox, &script).await));
}
