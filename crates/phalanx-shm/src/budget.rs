//! Ranks against the CPUs they may use.
//!
//! Spinning is right when the peer runs on another CPU and answers within a
//! microsecond, and harmful when the peer needs the very CPU that spins.

/// Environment variable by which a launcher tells the ranks how many CPUs the job may use, since a rank bound to some of
/// them sees only those.
pub const JOB_CPUS: &str = "PHALANX_JOB_CPUS";

/// CPUs this job may use against the processes that want them.
///
/// ```
/// use phalanx_shm::CpuBudget;
///
/// assert!(!CpuBudget::new(4, None, 4).oversubscribed());
/// // A control group allows them three and a half of the four.
/// assert!(CpuBudget::new(4, Some(3.5), 4).oversubscribed());
/// assert!(CpuBudget::detect(1).cpus > 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuBudget {
    /// CPUs, by affinity and cgroup quota; a quota of half a CPU is 0.5.
    pub cpus: f64,
    /// Processes of the job on this machine.
    pub ranks: u32,
}

impl CpuBudget {
    /// The budget of this process when `ranks` processes share the machine.
    pub fn detect(ranks: u32) -> CpuBudget {
        let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1));
        let told = std::env::var(JOB_CPUS).ok().and_then(|cpus| cpus.parse().ok());
        let affinity = affinity.max(told.unwrap_or(0));
        CpuBudget::new(affinity, crate::limits::quota(), ranks)
    }

    /// The budget from known figures: CPUs by affinity, cgroup quota in CPUs.
    pub fn new(affinity: u32, quota: Option<f64>, ranks: u32) -> CpuBudget {
        let cpus = quota.map_or(f64::from(affinity), |q| q.min(f64::from(affinity)));
        CpuBudget { cpus, ranks: ranks.max(1) }
    }

    /// Whether more ranks want to run than CPUs are there for them.
    pub fn oversubscribed(&self) -> bool {
        f64::from(self.ranks) > self.cpus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_counted_against_cpus() {
        let roomy = CpuBudget::new(4, None, 4);
        let tight = CpuBudget::new(4, Some(3.5), 4);
        assert!(!roomy.oversubscribed());
        assert!(tight.oversubscribed());
        assert!(CpuBudget::detect(1).cpus > 0.0);
    }
}
