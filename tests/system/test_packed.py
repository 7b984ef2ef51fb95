# SPDX-License-Identifier: BSD-2-Clause
"""Conformance item 13: QEMU gives a SCSI guest a packed ring without asking us. As long as we do
not serve them, that guest is refused with a line that says what to switch off, and nobody else
notices.
"""

import pytest

from .guest import fio, fio_result
from .patience import wait_until


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_a_packed_ring_for_scsi_is_refused_with_a_line_that_names_the_property(lab, version):
    daemon = lab.daemon()
    good = lab.boot(version, daemon.put_file("scsi", "root", lab.image()))
    bad = lab.start(version, daemon.put_file("scsi", "other", lab.image("other"), "other"),
                    extra=["-global", "vhost-user-scsi.packed=on"])
    wait_until(lambda: "set packed=off on the QEMU device" in daemon.log_tail(), 90,
               "the daemon says why it refuses the guest")
    bad.kill()
    fio_result(good.run(fio("/fio", size_mib=8)))
    good.poweroff()
