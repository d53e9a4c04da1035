"""The C++ runtime from Python: the same library, the same checks and the same bits as a Fortran
host gets.

``options()`` lists the options that ``Emulator`` takes by keyword: name, type, default, who sets it
and help; ``check_options(**options)`` refuses what ``Emulator`` would refuse.

>>> from climlink.runtime import Emulator
>>> emulator = Emulator("wrap_model.pt", level_count=60, time_step_s=1200.0)
>>> y = emulator.run_packed(x)  # float32 [column, n_input] -> float32 [column, n_output]
"""

from __future__ import annotations

from climlink._runtime import Emulator, EmulatorError, check_options, options

__all__ = ["Emulator", "EmulatorError", "check_options", "options"]
