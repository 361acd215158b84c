//! Batch scripts that train a sweep on Slurm: an array with one task for each training, and a job that collects the results.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::atomic;
use crate::error::{Error, WriteError};

/// The folder of the scripts and of the output of the jobs, in the folder of the sweep.
const FOLDER: &str = "slurm";

/// The shortest time limit, in seconds: a training saves its state 90 seconds before the end, and needs time before that.
pub const MIN_SECONDS: u64 = 180;

/// Reads a time limit as Slurm does: MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES or DAYS-HOURS:MINUTES:SECONDS. Returns the seconds, or
/// `None` for another form.
#[must_use]
pub fn time_limit(text: &str) -> Option<u64> {
    let is_number = |part: &&str| !part.is_empty() && part.len() < 8 && part.chars().all(|c| c.is_ascii_digit());
    let numbers = |text: &str| text.split(':').map(|part| Some(part).filter(is_number)?.parse().ok()).collect::<Option<Vec<u64>>>();
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(*numbers(days).as_deref()?.first()?).filter(|_| !days.contains(':'))?, rest),
        None => (0, text),
    };
    let [hours, minutes, seconds] = match (numbers(rest)?.as_slice(), text.contains('-')) {
        ([minutes], false) => [0, *minutes, 0],
        ([minutes, seconds], false) => [0, *minutes, *seconds],
        ([hours], true) => [*hours, 0, 0],
        ([hours, minutes], true) => [*hours, *minutes, 0],
        ([hours, minutes, seconds], _) => [*hours, *minutes, *seconds],
        _ => return None,
    };
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Batch scripts of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmScripts {
    /// The name of the jobs.
    pub name: String,
    /// The program `regulus`, an absolute path.
    pub program: PathBuf,
    /// The folder of the sweep, an absolute path.
    pub sweep: PathBuf,
    /// The indexes of the trainings, such as `0-7,9`.
    pub indexes: String,
    /// The largest number of tasks at once. `None`: as many as Slurm allows.
    pub concurrency: Option<usize>,
    /// Options of `sbatch` for both jobs, such as `--partition=cpu`.
    pub options: Vec<String>,
}

/// The paths of written scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenScripts {
    /// The script of the array.
    pub train: PathBuf,
    /// The script that collects the results.
    pub collect: PathBuf,
}

impl SlurmScripts {
    /// Writes both scripts in the folder of the sweep.
    ///
    /// # Errors
    ///
    /// When a path or an option can't be part of a script, or a file can't be written.
    pub fn write(&self) -> Result<WrittenScripts, Error> {
        let folder = self.sweep.join(FOLDER);
        let scripts = [("train.sh", self.train()?), ("collect.sh", self.collect()?)];
        std::fs::create_dir_all(&folder).map_err(WriteError::at(&folder))?;
        scripts.iter().try_for_each(|(name, text)| atomic::write(&folder.join(name), text.as_bytes()))?;
        let [train, collect] = scripts.map(|(name, _)| folder.join(name));
        Ok(WrittenScripts { train, collect })
    }

    /// The script of the array: each task trains one training.
    ///
    /// # Errors
    ///
    /// When a path or an option can't be part of a script.
    pub fn train(&self) -> Result<String, Error> {
        let limit = self.concurrency.map_or(String::new(), |tasks| format!("%{tasks}"));
        let array = format!("--array={}{limit}", self.indexes);
        self.script(
            "Trains a sweep, one training in each task of the array.",
            &[format!("--job-name={}", self.job_name()), array],
            "%a.log",
            "\"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\"",
            "run \"$sweep\" --index \"$SLURM_ARRAY_TASK_ID\"",
        )
    }

    /// The script that collects the results and trains the chosen trial again.
    ///
    /// # Errors
    ///
    /// When a path or an option can't be part of a script.
    pub fn collect(&self) -> Result<String, Error> {
        self.script(
            "Collects the results of a sweep, and trains the chosen trial again.",
            &[format!("--job-name={}-collect", self.job_name())],
            "collect.log",
            "\"$SLURM_JOB_ID\"",
            "collect \"$sweep\"",
        )
    }

    fn script(&self, purpose: &str, own: &[String], log: &str, job: &str, command: &str) -> Result<String, Error> {
        // In names of files `%` begins a pattern.
        let log = format!("{}/{log}", self.sweep.join(FOLDER).display().to_string().replace('%', "%%"));
        if log.contains(['"', '\\', '\n']) {
            let problem = format!("the path `{log}` has a quotation mark, backslash or line break; Slurm can't take it, so move the sweep");
            return Err(Error::Usage(problem));
        }
        if let Some(option) = self.options.iter().find(|option| !option.starts_with('-') || option.contains('\n')) {
            let problem = format!("the option of sbatch is `{option}`; expected one line such as `--gres=gpu:1`");
            return Err(Error::Usage(problem));
        }
        let fixed = ["--open-mode=append", "--requeue", "--signal=B:USR1@90", "--ntasks=1"].map(str::to_owned);
        let log = [format!("--output=\"{log}\"")];
        let options = own.iter().chain(&log).chain(&fixed).chain(&self.options);
        let lines: Vec<String> = options.map(|option| format!("#SBATCH {option}\n")).collect();
        let lines = lines.concat();
        let (program, sweep) = (quoted(&self.program), quoted(&self.sweep));
        Ok(format!("#!/bin/bash\n# {purpose} Written by `regulus sweep slurm`.\n{lines}\nregulus={program}\nsweep={sweep}\njob={job}\n\n")
            + &BODY.replace("COMMAND", command))
    }

    /// The name of the job, of characters that need no quotation marks.
    fn job_name(&self) -> String {
        self.name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).collect()
    }
}

impl WrittenScripts {
    /// Submits the array, and the collecting job to run after all of its tasks. Returns the numbers of both jobs.
    ///
    /// # Errors
    ///
    /// When `sbatch` is missing or refuses.
    pub fn submit(&self) -> Result<(String, String), Error> {
        let train = sbatch(&[], &self.train)?;
        let collect = sbatch(&[format!("--dependency=afterany:{train}")], &self.collect)?;
        Ok((train, collect))
    }
}

/// Submits a script. Returns the number of the job.
fn sbatch(options: &[String], script: &Path) -> Result<String, Error> {
    let failed = |problem: String| Error::Program { program: "sbatch", problem };
    let ran = Command::new("sbatch").arg("--parsable").args(options).arg(script).output();
    let ran = ran.map_err(|error| failed(format!("{error}; submit `{}` on a machine with Slurm", script.display())))?;
    if !ran.status.success() {
        return Err(failed(String::from_utf8_lossy(&ran.stderr).trim().to_owned()));
    }
    // The number, on some systems followed by the name of the cluster.
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let number = text.trim().split(';').next().unwrap_or_default();
    if number.is_empty() { Err(failed("it printed no job number".to_owned())) } else { Ok(number.to_owned()) }
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// What a job does. Slurm signals the script, as `--signal=B:` says.
const BODY: &str = r#"# Before the time limit Slurm sends USR1, before a preemption TERM. The program saves its state and exits with 75.
signalled=
training=
stop() {
    signalled=1
    if [ -n "$training" ]; then kill -TERM "$training" 2> /dev/null; fi
}
trap stop USR1 USR2 TERM
"$regulus" sweep COMMAND &
training=$!
if [ -n "$signalled" ]; then stop; fi
# A signal ends `wait` before the program has ended.
while kill -0 "$training" 2> /dev/null; do wait "$training"; done
wait "$training"
code=$?

# 143: the signal came before the program could handle it.
if [ "$code" = 75 ] || { [ "$code" = 143 ] && [ -n "$signalled" ]; }; then
    trap '' USR1 USR2
    trap - TERM
    # A job that is being cancelled, or that Slurm puts back in the queue by itself, no longer runs. Slurm ends this script when it has put the job back.
    if [ "$(squeue --noheader --format=%T --jobs="$job")" = RUNNING ] && scontrol requeue "$job"; then sleep 60; fi
fi
exit "$code"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(sweep: &str, options: &[&str]) -> SlurmScripts {
        SlurmScripts {
            name: "my digits".to_owned(),
            program: PathBuf::from("/opt/it's/regulus"),
            sweep: PathBuf::from(sweep),
            indexes: "0-7,9".to_owned(),
            concurrency: Some(4),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    #[test]
    fn the_scripts_of_a_sweep() {
        let scripts = scripts("/data/50%/sweep", &["--partition=cpu", "--time=1:00:00"]);
        insta::assert_snapshot!(scripts.train().unwrap());
        let collect = scripts.collect().unwrap();
        assert!(collect.contains("\"$regulus\" sweep collect \"$sweep\" &") && !collect.contains("--array"), "{collect}");
    }

    #[test]
    fn what_can_not_be_in_a_script_is_refused() {
        assert!(scripts("/a\"b", &[]).train().unwrap_err().to_string().contains("quotation mark"));
        assert!(scripts("/a", &["gpu"]).train().unwrap_err().to_string().contains("expected one line such as"));
        assert!(scripts("/a", &["--comment=a\n#SBATCH --x"]).collect().is_err());
    }

    #[test]
    fn time_limits_are_those_of_slurm() {
        let expected = [("10", 600), ("2:30", 150), ("2:00:00", 7200), ("1-12", 129_600), ("1-0:30", 88_200), ("1-02:03:04", 93_784)];
        expected.iter().for_each(|(text, seconds)| assert_eq!(time_limit(text), Some(*seconds), "{text}"));
        for refused in ["banana", "", "1 hour", "1:2:3:4", "1-", "-1", "1-1:1:1:1", "1:x", "1:2-3", "99999999999999999999"] {
            assert_eq!(time_limit(refused), None, "{refused}");
        }
    }
}
