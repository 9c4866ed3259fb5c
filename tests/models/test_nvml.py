"""NVIDIA's library as ctypes calls it: against one compiled here, whose functions have NVML's signatures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from opengateway.models.nvml import Use, open_nvml

SOURCE = """
#include <stddef.h>
typedef struct { unsigned pid; unsigned long long at; unsigned sm, mem, enc, dec; } sample;
typedef struct { unsigned long long total, free, used; } memory;
static int up = 0; static int gpus[2] = {0, 1};
int nvmlInit_v2(void) { up = 1; return 0; }
int nvmlShutdown(void) { up = 0; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return up ? 0 : 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = &gpus[i]; return 0; }
int nvmlDeviceGetMemoryInfo(void *d, memory *m) { m->total = 100; m->free = 40; m->used = 60; return 0; }
int nvmlDeviceGetProcessUtilization(void *d, sample *s, unsigned *n, unsigned long long since) {
  if (*(int *)d == 1) return 6; /* NVML_ERROR_NOT_FOUND: nothing runs there */
  if (since >= 30) return 6;
  if (!s) { *n = 3; return 7; }
  sample made[3] = {{11, 10, 50, 0, 0, 0}, {22, 20, 7, 0, 0, 0}, {11, 30, 90, 0, 0, 0}};
  for (unsigned i = 0; i < 3; i++) s[i] = made[i];
  *n = 3; return 0;
}
"""


@pytest.fixture
def library(tmp_path: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    source, made = tmp_path / "nvml.c", tmp_path / "libnvml-test.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True, timeout=50)
    return str(made)


def test_each_process_is_seen_with_its_newest_use_and_only_once(library: str) -> None:
    nvml = open_nvml((library,))
    assert nvml is not None
    assert len(nvml) == 2
    assert sorted(nvml.uses(), key=lambda use: use.pid) == [Use(0, 11, 90.0), Use(0, 22, 7.0)]
    assert nvml.uses() == []  # since the last look nothing new
    assert nvml.free_bytes() == 80
    nvml.close()


def test_where_there_is_no_driver_there_is_nothing(tmp_path: Path) -> None:
    assert open_nvml((str(tmp_path / "none.so"),)) is None


def test_a_library_that_lacks_the_functions_is_left_alone() -> None:
    assert open_nvml(("libc.so.6",)) is None
