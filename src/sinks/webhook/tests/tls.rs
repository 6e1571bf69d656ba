use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Made for this test, for `localhost`, valid for a hundred years.
pub const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUKgAwIBAgIUVJidwGQdC8cCePrUmw/d1yf+MvgwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOd2F0Y2hmaXJlIHRlc3QwIBcNMjYxMTIzMTQyOTU3WhgPMjEy
NjEwMzAxNDI5NTdaMBkxFzAVBgNVBAMMDndhdGNoZmlyZSB0ZXN0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEQdDHBLy4VVQIwtb+ClLO3r7OmqA7jD1RtuL0omoy
MPpNz2XjooTOyDpS0Kr9TaqlMeXV78++y43fCIr63wt8xaNmMGQwHQYDVR0OBBYE
FKpQy2nCctE3GFOMd2gJ68gVhV4HMB8GA1UdIwQYMBaAFKpQy2nCctE3GFOMd2gJ
68gVhV4HMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAMBgNVHRMBAf8EAjAAMAoGCCqG
SM49BAMCA0gAMEUCIQDPF3JxW9IjOAch/pqJpcP20Gnd449LRxDwe9L8sYUoXgIg
DjljnIP+ELWJb1DGGlia4pVPyW9VO1c2zgvRpzHYghE=
-----END CERTIFICATE-----
";
/// The key to it: it protects nothing.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3uNz2ptrRQMji2Ac
U1kX9IYGtGZc8WcA9UEHHnhnMg2hRANCAARB0McEvLhVVAjC1v4KUs7evs6aoDuM
PVG24vSiajIw+k3PZeOihM7IOlLQqv1NqqUx5dXvz77Ljd8IivrfC3zF
-----END PRIVATE KEY-----
";

pub async fn far_side() -> SocketAddr {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_reader_iter(Cursor::new(CERTIFICATE)).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_reader(Cursor::new(KEY)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}
