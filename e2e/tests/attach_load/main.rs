//! Many attachments at once, with the agent away, slow or overrun, a disk that is full, and processes that are killed: nothing leaks, which is
//! counted, and no pod waits for the agent.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crowd;
mod hindered;
mod killed;
mod parallel;
mod removal;
mod times;
