// The options of the C interface as Python keywords, and their table.
#pragma once

#include <climlink/climlink.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "runtime_errors.hpp"

struct FreeOptions {
  void operator()(climlink_options* options) const noexcept { climlink_options_free(&options); }
};
using Options = std::unique_ptr<climlink_options, FreeOptions>;

// The text of a Python value: of a sequence its items separated by commas, of a number or bool what
// str gives.
inline std::string option_text(const py::handle& value) {
  if (!py::isinstance<py::sequence>(value) || py::isinstance<py::str>(value)) return py::str(value);
  return py::str(",").attr("join")(value).cast<std::string>();
}

// Options from keywords; None leaves the default.
inline Options options_from(const py::kwargs& keywords) {
  climlink_options* made = nullptr;
  check(climlink_options_new(&made));
  Options options(made);
  for (const auto& [name, value] : keywords) {
    if (value.is_none()) continue;
    check(climlink_options_set(made, py::str(name).cast<std::string>().c_str(),
                               option_text(value).c_str()));
  }
  return options;
}

// A default as the Python value of its type.
inline py::object option_value(const std::string& type, const std::string& value) {
  if (type == "integer") return py::int_(py::str(value));
  if (type == "real") return py::float_(py::str(value));
  if (type == "logical") return py::bool_(value == "true");
  if (type != "names") return py::str(value);
  return value.empty() ? py::list() : py::list(py::str(value).attr("split")(","));
}

inline py::list option_rows() {
  py::list rows;
  for (int32_t i = 0; i < climlink_option_count(); ++i) {
    const char *name = nullptr, *type = nullptr, *value = nullptr, *set_by = nullptr,
               *help = nullptr;
    check(climlink_option(i, &name, &type, &value, &set_by, &help));
    rows.append(py::dict(py::arg("name") = name, py::arg("type") = type,
                         py::arg("default") = option_value(type, value), py::arg("set_by") = set_by,
                         py::arg("help") = help));
  }
  return rows;
}
