//! How an API server is reached, by a kubeconfig, as a pod or as kubectl does: what an error on the way means to the person who has to mend it, and
//! how many requests of which kind were made.

mod access;
mod authority;
mod causes;
mod connection;
mod distrust;
mod error;
mod identity;
mod kubectl;
mod request;
mod requests;

pub use access::{Access, Opened};
pub use authority::Authority;
pub use causes::with_causes;
pub use distrust::distrust;
pub use error::AccessError;
pub use kubectl::KubectlAccess;
pub use requests::Requests;
