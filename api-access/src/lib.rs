//! How operator and agent reach an API server: by a kubeconfig or as a pod, what an error on the way means to the person who has to mend it, and
//! how many requests of which kind were made.

mod access;
mod authority;
mod causes;
mod distrust;
mod error;
mod request;
mod requests;

pub use access::{Access, Opened};
pub use authority::Authority;
pub use causes::with_causes;
pub use distrust::distrust;
pub use error::AccessError;
pub use requests::Requests;
