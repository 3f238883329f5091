use super::Row;
use super::start::StandIn;
use crate::results::Section;
use crate::{Bench, data, measure};

pub const ROW: Row = Row {
    name: "fleet",
    title: "a simulated fleet",
    about: "Hosts with ten paths each in one configuration, all of them on this machine, and a stand-in for rsync that prints its figures and ends. \
            `own` is the processor time of the runner itself, which includes starting the processes; `beyond xargs` is the wall time of a run less that of \
            `xargs -P` that starts the stand-in as often, by the number of paths.",
    measure,
};

const PATHS: usize = 10;

fn measure(bench: &Bench, section: &mut Section) {
    let full = bench.scaled(1000).max(20);
    let cases: Vec<(usize, String)> =
        [full / 10, full].map(|hosts| (hosts, format!("{hosts} hosts, {} paths", hosts * PATHS))).to_vec();
    for _ in 0..bench.rounds {
        for (hosts, case) in &cases {
            let folder = bench.folder();
            let count = (hosts * PATHS) as f64;
            data::config::write(folder.path(), "", &data::config::fleet(*hosts, PATHS));
            let stand_in = StandIn::make(folder.path());
            let runner = bench.program("backup-runner");
            let usage = measure::run(stand_in.command(&runner, folder.path()).arg("--json"), &[0]);
            assert_eq!(stand_in.count(), hosts * PATHS, "each path has one transfer");
            section.add(case, "backup-runner", "wall per path", "ms", usage.wall / count * 1e3);
            section.add(case, "backup-runner", "own per path", "ms", usage.own_cpu / count * 1e3);
            section.add(case, "backup-runner", "peak memory", "MiB", usage.peak_mib);
            let script = format!("yes x | head -n {count} | xargs -P $(nproc) -n 1 rsync");
            let beside = measure::run(&mut stand_in.shell(&script), &[0]);
            section.add(case, "xargs -P", "wall per path", "ms", beside.wall / count * 1e3);
            let beyond = (usage.wall - beside.wall) / count * 1e3;
            section.add(case, "backup-runner", "wall per path beyond xargs", "ms", beyond);
        }
    }
    let [(_, small), (_, large)] = &cases[..] else { return };
    let of = |case: &str, quantity: &str| section.median(case, "backup-runner", quantity);
    let (own, beyond) = (of(large, "own per path"), of(large, "wall per path beyond xargs"));
    let growth = of(large, "own per path").zip(of(small, "own per path")).map(|(large, small)| large / small);
    let memory = of(large, "peak memory").zip(of(small, "peak memory")).map(|(large, small)| large / small);
    section.at_most("own processor time per path", own, "ms", 2.0);
    section.at_most("wall per path beyond xargs", beyond, "ms", 2.0);
    section.at_most("own processor time per path at ten times the hosts", growth, "×", 1.1);
    section.at_most("peak memory at ten times the hosts", memory, "×", 1.5);
}
