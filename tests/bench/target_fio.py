# SPDX-License-Identifier: BSD-2-Clause
"""fio itself, on the target's core: what the kernel gives a program that does nothing else.

It does the same requests on the same file or device as a target would for its guest, in the best
form that io_uring has for it: registered buffers, registered files, O_DIRECT. There is no guest and
no ring between, so it needs no load generator: it is load and target in one.

Its CPU is that of the whole process, the kernel's own threads for it included, without what fio
takes to start and to end: that is measured once, with a job of one request.
"""
import json
import resource
import shutil
import subprocess

import targets

MODES = ("randread", "randwrite", "read", "write")


def children_cpu_ns():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


class Fio(targets.Target):
    name = "fio"

    def __init__(self, folder, cores):
        super().__init__(folder, cores)
        self.describe = "fio with io_uring, registered buffers and files, on the target's core"
        self.start_cpu_ns = None

    def missing(self):
        return None if shutil.which("fio") else "fio is not installed (Debian package fio)"

    def can(self, setup):
        # A bus is nothing to it: once is enough.
        return setup.path is not None and setup.bus == "blk" and not setup.packed

    def start(self, setups):
        if self.start_cpu_ns is None:
            self.start_cpu_ns = self.run(setups[0].path, ["--size=4096", "--rw=read"])[1]

    def run(self, path, arguments):
        """The report of its one job, and the CPU that all of it took."""
        before = children_cpu_ns()
        argv = ["fio", "--name=bench", f"--filename={path}", "--ioengine=io_uring",
                "--fixedbufs", "--registerfiles", "--direct=1", "--randrepeat=0",
                "--norandommap", "--zero_buffers", "--output-format=json", *arguments]
        done = subprocess.run(targets.pinned(self.cores, argv), capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode:
            raise targets.TargetError(f"fio: {(done.stderr or done.stdout).strip()[-200:]}")
        # Notes may stand before the report.
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        return job, children_cpu_ns() - before

    def run_load(self, cell, seconds):
        """One cell; the report has the form of vhost-bench's."""
        if cell.rw not in MODES or cell.load or cell.guests > 1 or cell.interarrival_us:
            raise targets.NotOffered("fio stands for one guest that always has requests")
        job, cpu_ns = self.run(cell.setup.path, [
            f"--rw={cell.rw}", f"--bs={cell.block_size}", f"--iodepth={cell.depth}",
            "--time_based", f"--runtime={int(seconds * 1000)}ms"])
        part = job["read" if cell.rw.endswith("read") else "write"]
        count = max(part["total_ios"], 1)
        cpu_ns = max(cpu_ns - self.start_cpu_ns, 0)
        latency = part["clat_ns"]
        percentile = latency["percentile"]
        return {
            "requests": part["total_ios"],
            "errors": job["error"],
            "first_error": job["error"],
            "iops": part["iops"],
            "bytes_per_second": part["bw_bytes"],
            "latency_ns": {"avg": part["lat_ns"]["mean"], "p50": percentile["50.000000"],
                           "p99": percentile["99.000000"], "p99.9": percentile["99.900000"]},
            "target": {"threads_ns_per_request": cpu_ns / count,
                       "cores": cpu_ns / 1e6 / max(job["job_runtime"], 1)},
            "options": {"event_idx": None, "inflight": None},
        }
