//! The memory of this machine.

use std::path::{Path, PathBuf};

/// The bytes of memory that this process can have: those of the machine, or a smaller limit of its control group (a container's limit). Returns `None`
/// where they can't be read: on other systems than Linux.
pub(crate) fn machine_memory() -> Option<u64> {
    memory_under(Path::new("/"))
}

/// As [`machine_memory`], for the system whose files are under `root`.
fn memory_under(root: &Path) -> Option<u64> {
    let text = |path: PathBuf| std::fs::read_to_string(path).ok();
    let installed = total(&text(root.join("proc/meminfo"))?)?;
    let groups = text(root.join("proc/self/cgroup")).unwrap_or_default();
    // A limit is "max" where there is none.
    let limits = groups.lines().flat_map(limit_files).filter_map(|path| text(root.join(path))?.trim().parse().ok());
    Some(limits.fold(installed, u64::min))
}

/// The total memory that `/proc/meminfo` states.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// The files with the memory limits of a control group and of those it is in, for a line of `/proc/self/cgroup` such as `0::/a/b` (version 2) or
/// `4:memory:/a/b` (version 1). In a container the own group is often mounted at the top.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    Path::new(group.trim_start_matches('/')).ancestors().map(|group| Path::new(mount).join(group).join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        memory_under(root.path())
    }

    #[test]
    fn the_smallest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        2000 kB\nMemFree:          100 kB\n");
        assert_eq!(memory(&[]), None);
        assert_eq!(memory(&[meminfo]), Some(2_048_000));
        let group = ("proc/self/cgroup", "0::/user/job\n");
        assert_eq!(memory(&[meminfo, group, ("sys/fs/cgroup/user/job/memory.max", "max\n")]), Some(2_048_000));
        assert_eq!(memory(&[meminfo, group, ("sys/fs/cgroup/user/memory.max", "70000\n")]), Some(70_000));
        assert_eq!(memory(&[meminfo, group, ("sys/fs/cgroup/memory.max", "80000\n")]), Some(80_000));
        let group = ("proc/self/cgroup", "3:cpu:/job\n2:memory,hugetlb:/job\n");
        assert_eq!(memory(&[meminfo, group, ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "90000\n")]), Some(90_000));
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory(&[meminfo, group, unlimited]), Some(2_048_000));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_some() {
        assert!(machine_memory().unwrap() > 1 << 20);
    }
}
