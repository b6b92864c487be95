//! An address before a server that refuses connections until it is opened.

use socket2::{Domain, Socket, Type};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use txguard::base::tasks::Tasks;

/// A closed gate; its port is taken, and nobody listens there.
pub(crate) struct Gate {
    /// HOST:PORT.
    pub(crate) address: String,
    socket: Socket,
    backend: String,
}

/// An open gate; connections through it go on when it is dropped.
pub(crate) struct Open(Tasks);

impl Gate {
    /// Before the server at HOST:PORT.
    pub(crate) fn before(backend: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("bound").as_socket().expect("TCP").to_string();
        Self { address, socket, backend: backend.to_owned() }
    }

    /// Lets connections through from now on.
    pub(crate) fn open(self) -> Open {
        self.socket.listen(64).expect("a bound socket");
        self.socket.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(self.socket.into()).expect("a listener");
        let (tasks, through) = (Tasks::default(), Tasks::default());
        let (stop, backend) = (tasks.token().clone(), self.backend);
        tasks.spawn(async move {
            while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
                through.spawn(pass(near, backend.clone()));
            }
        });
        Open(tasks)
    }
}

async fn pass(mut near: TcpStream, backend: String) {
    if let Ok(mut far) = TcpStream::connect(backend).await {
        let _ = near.set_nodelay(true);
        let _ = far.set_nodelay(true);
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
