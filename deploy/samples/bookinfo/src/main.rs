//! The bookinfo sample: one binary with the four services and their clients.
//! In: HTTP requests on port 9080. Out: the public sample's paths, JSON shapes and headers, so that
//! manifests and routing rules written for it work unchanged.
//! Owns: nothing that outlives a request, except the ratings somebody posted.
//! Never here: anything about the mesh; the services must not know whether they are in one.
//! Spec: Istio's bookinfo sample.
#![forbid(unsafe_code)]

mod answer;
mod book;
mod client;
mod connection;
mod details;
mod echo;
mod grpc;
mod hop;
mod load;
mod productpage;
mod proxied;
mod ratings;
mod reviews;
mod server;
mod session;
mod tcp;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bookinfo", about = "The bookinfo sample")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// The page: asks details and reviews
    Productpage(productpage::Args),
    /// Facts about the book
    Details(details::Args),
    /// Reviews of the book; v2 and v3 ask ratings
    Reviews(reviews::Args),
    /// Stars
    Ratings(ratings::Args),
    /// HTTP client: one request or a load, result as one line of JSON
    Client(client::Args),
    /// HTTP client that keeps a rate whatever happens, a line of JSON each second
    Load(load::Args),
    /// gRPC server that sends every message back
    GrpcServe(grpc::ServeArgs),
    /// gRPC client, result as one line of JSON
    Grpc(grpc::CallArgs),
    /// TCP echo server that greets with the addresses it sees
    TcpServe(tcp::ServeArgs),
    /// TCP client of the echo server, result as one line of JSON
    Tcp(tcp::ClientArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().role {
        Role::Productpage(args) => productpage::run(args).await,
        Role::Details(args) => details::run(args).await,
        Role::Reviews(args) => reviews::run(args).await,
        Role::Ratings(args) => ratings::run(args).await,
        Role::Client(args) => client::run(args).await,
        Role::Load(args) => load::run(args).await,
        Role::GrpcServe(args) => grpc::serve(args).await,
        Role::Grpc(args) => grpc::run(args).await,
        Role::TcpServe(args) => tcp::serve(args).await,
        Role::Tcp(args) => tcp::run(args).await,
    }
}
