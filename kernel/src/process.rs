//! Runs one program: feeds its input while it drains the output, and stops it when it takes too long.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What is kept of the standard error; a program that refuses thousands of lines need not cost memory.
const MAX_STDERR: usize = 64 * 1024;
const CHUNK: usize = 64 * 1024;

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

/// Why it did not come to an end of its own.
#[derive(Debug)]
pub(crate) enum RunError {
    TimedOut,
    Io(&'static str, io::Error),
}

/// Runs `command` to its end. `stdout` is called with each piece of output as it comes.
///
/// Input and output move in one poll loop: a program that writes before it has read everything cannot block us, nor we it.
pub(crate) fn run(
    command: &mut Command,
    input: &[u8],
    timeout: Duration,
    stdout: &mut dyn FnMut(&[u8]),
) -> Result<Ended, RunError> {
    let deadline = Instant::now() + timeout;
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| RunError::Io("start", e))?;
    let mut child = KilledOnDrop(child);
    let stderr = exchange(&mut child.0, input, deadline, stdout)?;
    let status = wait(&mut child.0, deadline)?;
    Ok(Ended {
        status,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Both do nothing for a child that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn exchange(
    child: &mut Child,
    mut input: &[u8],
    deadline: Instant,
    on_stdout: &mut dyn FnMut(&[u8]),
) -> Result<Vec<u8>, RunError> {
    let mut stdin = child.stdin.take();
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    for fd in [
        stdin.as_ref().map(AsFd::as_fd),
        stdout.as_ref().map(AsFd::as_fd),
        stderr.as_ref().map(AsFd::as_fd),
    ]
    .into_iter()
    .flatten()
    {
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|e| RunError::Io("set up pipes", e.into()))?;
    }
    let mut buffer = vec![0; CHUNK];
    let mut said = Vec::new();
    loop {
        if input.is_empty() {
            stdin = None;
        }
        if stdin.is_none() && stdout.is_none() && stderr.is_none() {
            return Ok(said);
        }
        await_any(
            stdin.as_ref().map(AsFd::as_fd),
            [
                stdout.as_ref().map(AsFd::as_fd),
                stderr.as_ref().map(AsFd::as_fd),
            ],
            deadline,
        )?;
        if let Some(pipe) = &mut stdin {
            match pipe.write(input) {
                Ok(written) => input = &input[written..],
                Err(e) if is_retry(&e) => {}
                // It ended early; its status and its words say why.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => input = &[],
                Err(e) => return Err(RunError::Io("write input", e)),
            }
        }
        drain(&mut stdout, &mut buffer, on_stdout).map_err(|e| RunError::Io("read output", e))?;
        drain(&mut stderr, &mut buffer, &mut |piece| {
            let room = MAX_STDERR.saturating_sub(said.len());
            said.extend_from_slice(&piece[..piece.len().min(room)]);
        })
        .map_err(|e| RunError::Io("read error output", e))?;
    }
}

fn await_any(
    writer: Option<BorrowedFd<'_>>,
    readers: [Option<BorrowedFd<'_>>; 2],
    deadline: Instant,
) -> Result<(), RunError> {
    let mut fds: Vec<PollFd<'_>> = writer
        .map(|fd| PollFd::new(fd, PollFlags::POLLOUT))
        .into_iter()
        .collect();
    fds.extend(
        readers
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
    );
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(RunError::TimedOut);
    }
    // Rounded up, or the last millisecond would be spent spinning.
    let timeout =
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(e) => Err(RunError::Io("wait for pipes", e.into())),
    }
}

/// Reads all there is now; closes our end when the program closed its own.
fn drain<R: Read>(
    pipe: &mut Option<R>,
    buffer: &mut [u8],
    on_piece: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    while let Some(open) = pipe {
        match open.read(buffer) {
            Ok(0) => *pipe = None,
            Ok(n) => on_piece(&buffer[..n]),
            Err(e) if is_retry(&e) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Waits for a program that has closed its pipes already, so it ends at once or hangs.
fn wait(child: &mut Child, deadline: Instant) -> Result<ExitStatus, RunError> {
    let mut pause = Duration::from_micros(50);
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(|e| RunError::Io("wait for its end", e))?
        {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(RunError::TimedOut);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn ten_megabytes_pass_through_a_program_that_answers_as_it_reads() {
        let input = vec![b'x'; 10 << 20];
        let mut came = 0;
        let ended = run(
            &mut shell("tee /dev/stderr"),
            &input,
            Duration::from_secs(20),
            &mut |piece| came += piece.len(),
        )
        .unwrap();
        assert!(ended.status.success());
        assert_eq!(came, input.len());
        assert_eq!(ended.stderr.len(), MAX_STDERR);
    }

    #[test]
    fn a_program_that_does_not_read_its_input_is_no_error() {
        let input = vec![b'x'; 1 << 20];
        let ended = run(
            &mut shell("exec 0<&-; echo no >&2; exit 3"),
            &input,
            Duration::from_secs(20),
            &mut |_| {},
        );
        let ended = ended.unwrap();
        assert_eq!(
            (ended.status.code(), ended.stderr.as_str()),
            (Some(3), "no\n")
        );
    }

    #[test]
    fn a_program_that_hangs_is_stopped_whether_or_not_it_closed_its_pipes() {
        for script in ["exec sleep 30", "exec 0<&- 1>&- 2>&-; exec sleep 30"] {
            let begin = Instant::now();
            let error = run(
                &mut shell(script),
                b"x",
                Duration::from_millis(100),
                &mut |_| {},
            )
            .unwrap_err();
            assert!(matches!(error, RunError::TimedOut), "{script}");
            assert!(begin.elapsed() < Duration::from_secs(20), "{script}");
        }
    }
}
