//! A mounted Secret, which is updated as by the kubelet: new files in their own folder, then an atomic change of one
//! link.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A Secret's folder.
pub(super) struct Mount {
    folder: PathBuf,
    version: u32,
}

impl Mount {
    /// Creates the folder, empty.
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, version: 0 })
    }

    /// Replaces all contents.
    pub(super) fn write(&mut self, files: &[(String, &str)]) -> io::Result<()> {
        let former = self.folder.join(format!("..{}", self.version));
        self.version += 1;
        let version = format!("..{}", self.version);
        fs::create_dir(self.folder.join(&version))?;
        for (name, content) in files {
            fs::write(self.folder.join(&version).join(name), content)?;
            let link = self.folder.join(name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name), link)?;
            }
        }
        let link = self.folder.join("..data_tmp");
        symlink(&version, &link)?;
        fs::rename(link, self.folder.join("..data"))?;
        match fs::remove_dir_all(former) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
