//! A round's fdatasyncs, side by side: the file system then joins them into few journal commits.

use std::{fs::File, io, sync::Arc, sync::mpsc, thread};

use super::disk::Disk;

/// Threads beside the caller's own.
const WORKERS: usize = 3;

/// Waits until files are on disk.
#[derive(Debug)]
pub(crate) struct Syncer {
    disk: Arc<Disk>,
    workers: Vec<mpsc::Sender<Task>>,
}

struct Task {
    number: usize,
    file: Arc<File>,
    disk: Arc<Disk>,
    done: mpsc::Sender<(usize, io::Result<()>)>,
}

impl Syncer {
    /// # Errors
    /// The operating system gave no thread.
    pub(crate) fn start(disk: Arc<Disk>) -> io::Result<Self> {
        let workers = (0..WORKERS).map(|_| start_worker()).collect::<io::Result<_>>()?;
        Ok(Self { disk, workers })
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Syncs the data of every file; the answers are in the order of `files`.
    pub(crate) fn sync(&self, files: &[Arc<File>]) -> Vec<io::Result<()>> {
        let (done, answers) = mpsc::channel();
        let mut results: Vec<io::Result<()>> = files
            .iter()
            .map(|_| Err(io::Error::other("not synced")))
            .collect();
        for (number, file) in files.iter().enumerate() {
            let turn = number % (WORKERS + 1);
            let task = Task {
                number,
                file: Arc::clone(file),
                disk: Arc::clone(&self.disk),
                done: done.clone(),
            };
            let own = match turn.checked_sub(1).and_then(|worker| self.workers.get(worker)) {
                Some(worker) => worker.send(task).err().map(|refused| refused.0),
                None => Some(task),
            };
            if let Some(task) = own {
                task.run();
            }
        }
        drop(done);
        for (number, result) in answers {
            if let Some(slot) = results.get_mut(number) {
                *slot = result;
            }
        }
        results
    }
}

impl Task {
    fn run(self) {
        // Nobody to tell means that the round was given up, which nothing but the end of the thread does.
        drop(self.done.send((self.number, self.disk.sync(&self.file))));
    }
}

fn start_worker() -> io::Result<mpsc::Sender<Task>> {
    let (sender, tasks) = mpsc::channel::<Task>();
    thread::Builder::new()
        .name("evenkeel-sync".into())
        .spawn(move || tasks.into_iter().for_each(Task::run))?;
    Ok(sender)
}
