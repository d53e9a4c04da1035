// Failures of the C interface as Python's EmulatorError.
#pragma once

#include <climlink/climlink.h>
#include <pybind11/pybind11.h>

#include <string>

namespace py = pybind11;

// The Python exception type, made once at import and kept for the life of the interpreter.
inline PyObject* emulator_error = nullptr;

[[noreturn]] inline void raise(climlink_status status, const std::string& message) {
  // A message may quote bytes of a damaged file, which are no UTF-8.
  const auto words = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(message.data(), static_cast<py::ssize_t>(message.size()), "replace"));
  const py::object error = py::reinterpret_borrow<py::object>(emulator_error)(words);
  error.attr("status") = climlink_status_name(status);
  PyErr_SetObject(emulator_error, error.ptr());
  throw py::error_already_set();
}

inline void check(climlink_status status) {
  if (status != CLIMLINK_OK) raise(status, climlink_last_message());
}
