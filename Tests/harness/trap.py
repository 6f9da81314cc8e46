"""A library that has a program trap while it takes over from another one."""

import pathlib
import subprocess

# The alarm is set when the way back is prepared. A former program that comes back sets none.
SOURCE = """
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

unsigned alarm(unsigned seconds) {
    if (seconds > 0 && access("MARK", F_OK) == 0) raise(SIGSEGV);
    return syscall(SYS_alarm, seconds);
}
"""


def trap(folder, mark) -> pathlib.Path:
    """Makes the library in a folder. With it in LD_PRELOAD a program that takes over traps as long
    as there is a file `mark`."""
    source, library = folder / "trap.c", folder / "trap.so"
    source.write_text(SOURCE.replace("MARK", str(mark)))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library
