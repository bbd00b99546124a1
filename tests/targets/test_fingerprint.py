import pytest

from tvmcomp.targets.fingerprint import Fingerprint, local_fingerprint

_X86 = "processor : 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2\nprocessor : 1\nmodel name : x\n"
_ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4\n"


@pytest.mark.parametrize(
    ("cpuinfo", "cpu"), [(_X86, "AMD EPYC"), (_ARM, "Raspberry Pi 4 0x41/0xd08")]
)
def test_model_of_a_machine(tmp_path, cpuinfo, cpu):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo)
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave\n")
    found = local_fingerprint(tmp_path)
    assert (found.cpu, found.governor) == (cpu, "powersave")


def test_this_machine():
    here = local_fingerprint()
    assert here.cpu and here.cores >= 1 and here.kernel
    assert here == local_fingerprint()


def test_same_model_ignores_governor_and_kernel():
    one = Fingerprint("a", ("avx2",), 2, "powersave", "6.1")
    assert one.same_model(Fingerprint("a", ("avx2",), 2, "performance", "6.2"))
    assert not one.same_model(Fingerprint("b", ("avx2",), 2))
    assert not one.same_model(Fingerprint("a", ("avx2",), 4))
    assert not one.same_model(Fingerprint("a", (), 2))
