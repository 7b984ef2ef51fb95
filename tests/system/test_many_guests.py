# SPDX-License-Identifier: BSD-2-Clause
"""Several guests at once on one data reactor: both QEMUs, both devices, one and two processors."""

from .checks import ALL, assert_clean
from .guest import fio, fio_result


def test_four_guests_share_one_data_reactor_and_each_keeps_its_own_data(lab):
    daemon = lab.daemon("--cores", "0x1")
    machines = []
    for number, (version, bus) in enumerate(ALL):
        image = lab.image(f"root{number}")
        disk = daemon.put_file(bus, f"disk{number}", image)
        machines.append((lab.start(version, disk, cpus=1 + number % 2), image))
    for guest, _ in machines:
        guest.wait_first_ready()
    load = [guest.start(fio("/fio", size_mib=16, randseed=number + 1))
            for number, (guest, _) in enumerate(machines)]
    for job in load:
        fio_result(job.wait(240))
    for guest, image in machines:
        guest.poweroff()
        assert_clean(image)
