// climlink._runtime: the C interface for Python. It goes through climlink.h only, as every other
// host does.
#include <climlink/climlink.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "runtime_errors.hpp"
#include "runtime_options.hpp"

namespace py = pybind11;

namespace {

using FloatRows = py::array_t<float, py::array::c_style>;

template <class Call>
climlink_status without_gil(const Call& call) {
  const py::gil_scoped_release release;
  return call();
}

std::string shape_text(const py::array& array) {
  return py::str("{} {}").format(array.attr("shape"), array.dtype()).cast<std::string>();
}

// A numpy array as a climlink_array; the Python side declares shape and type, so that nothing is
// cast or broadcast on the way.
climlink_array view_of(const std::string& name, const py::array& array, bool writeable) {
  const bool float32 = py::isinstance<py::array_t<float>>(array);
  if (!float32 && !py::isinstance<py::array_t<double>>(array)) {
    raise(CLIMLINK_ERROR_SHAPE,
          name + ": expected a float32 or float64 array, got " + shape_text(array));
  }
  if (array.ndim() < 1 || array.ndim() > CLIMLINK_MAX_RANK) {
    raise(CLIMLINK_ERROR_SHAPE, name +
                                    ": expected an array of 1 to 4 dimensions such as [column], "
                                    "[column, level] or [sample, lat, lon], got " +
                                    shape_text(array));
  }
  if (writeable && !array.writeable())
    raise(CLIMLINK_ERROR_ARGUMENT, name + ": the output array is read-only");
  climlink_array view{};
  view.data = const_cast<void*>(array.data());  // set reads only; get has checked writeable
  view.type = float32 ? CLIMLINK_FLOAT32 : CLIMLINK_FLOAT64;
  view.rank = static_cast<int32_t>(array.ndim());
  for (int axis = 0; axis < view.rank; ++axis) {
    view.extent[axis] = array.shape(axis);
    view.stride[axis] = array.strides(axis);
  }
  return view;
}

using VariableRow = std::tuple<std::string, std::string, int64_t, int64_t>;

climlink_role role_of(const std::string& role) {
  if (role == "input") return CLIMLINK_INPUT;
  if (role == "output") return CLIMLINK_OUTPUT;
  raise(CLIMLINK_ERROR_ARGUMENT, "role is \"" + role + "\"; expected \"input\" or \"output\"");
}

// Owns a handle. A handle is for one thread at a time; run releases the GIL, so two Python threads
// need two emulators.
class Emulator {
 public:
  Emulator(const std::variant<py::bytes, std::string>& source, const climlink_options* options) {
    if (const auto* path = std::get_if<std::string>(&source)) {
      check(without_gil([&] { return climlink_open(path->c_str(), options, &handle_); }));
    } else {
      const std::string_view bytes = std::get<py::bytes>(source);
      check(without_gil([&] {
        return climlink_open_bytes(bytes.data(), static_cast<int64_t>(bytes.size()), "<bytes>",
                                   options, &handle_);
      }));
    }
  }
  ~Emulator() { climlink_close(&handle_); }
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  void begin(int64_t n_column) {
    check(climlink_begin(handle_, n_column));
    n_column_ = n_column;
  }
  void set(const std::string& name, const py::array& values, int64_t first_column) {
    const climlink_array view = view_of(name, values, false);
    check(climlink_set(handle_, name.c_str(), &view, first_column));
  }
  void run() {
    check(without_gil([&] { return climlink_run(handle_); }));
  }
  void get(const std::string& name, const py::array& values, int64_t first_column) const {
    const climlink_array view = view_of(name, values, true);
    check(climlink_get(handle_, name.c_str(), &view, first_column));
  }

  // [n_column, 3]; each of the three lies by itself, as the C interface gives them.
  py::array_t<double> range_use() {
    py::array_t<double, py::array::f_style> use(
        {static_cast<py::ssize_t>(n_column_), py::ssize_t{3}});
    double* first = use.mutable_data();
    check(without_gil([&] {
      return climlink_range_use(handle_, n_column_, first, first + n_column_,
                                first + 2 * n_column_);
    }));
    return use;
  }

  FloatRows run_packed(const py::array& x) {
    if (!py::isinstance<FloatRows>(x) || x.ndim() != 2) {
      raise(
          CLIMLINK_ERROR_SHAPE,
          "expected a C-contiguous float32 array [n_column, " +
              std::to_string(width(CLIMLINK_INPUT)) + "], got " + shape_text(x) +
              (x.ndim() == 2 && py::isinstance<py::array_t<float>>(x) ? ", not C-contiguous" : ""));
    }
    const auto rows = py::reinterpret_borrow<FloatRows>(x);
    const int64_t n_output = width(CLIMLINK_OUTPUT);
    FloatRows y({static_cast<py::ssize_t>(rows.shape(0)), static_cast<py::ssize_t>(n_output)});
    const float* in = rows.data();
    float* out = y.mutable_data();
    check(without_gil([&] {
      return climlink_run_packed(handle_, in, rows.shape(0), rows.shape(1), out, n_output);
    }));
    return y;
  }

  void require_units(const std::string& role, const std::string& name,
                     const std::string& units) const {
    check(climlink_require_units(handle_, role_of(role), name.c_str(), units.c_str()));
  }
  void require_coordinate(const std::string& dim, const std::vector<double>& values) const {
    check(climlink_require_coordinate(handle_, dim.c_str(), values.data(),
                                      static_cast<int64_t>(values.size())));
  }
  int64_t dim_size(const std::string& dim) const {
    int64_t size = 0;
    check(climlink_dim_size(handle_, dim.c_str(), &size));
    return size;
  }

  std::string manifest() const { return text(climlink_manifest); }
  std::string digest() const { return text(climlink_digest); }
  std::string device() const { return text(climlink_device); }
  std::string engine() const { return text(climlink_engine); }
  std::string precision() const { return text(climlink_precision); }
  std::string engine_note() const { return text(climlink_engine_note); }
  py::dict device_memory() const {
    int64_t held = 0, available = 0, total = 0;
    check(climlink_device_memory(handle_, &held, &available, &total));
    return py::dict(py::arg("held") = held, py::arg("free") = available, py::arg("total") = total);
  }
  std::vector<std::string> constraints_off() const {
    std::vector<std::string> names;
    std::istringstream list(text(climlink_constraints_off));
    for (std::string name; std::getline(list, name, ',');) names.push_back(name);
    return names;
  }
  std::string host_postprocessing() const { return text(climlink_host_postprocessing); }
  bool has_range_policy() const { return number<int32_t>(climlink_has_range_policy) != 0; }
  double golden_difference() const { return number<double>(climlink_golden_difference); }
  double time_step_s() const { return number<double>(climlink_time_step); }
  int64_t micro_batch() const { return number<int64_t>(climlink_micro_batch); }
  int32_t level_count() const { return number<int32_t>(climlink_level_count); }

  py::list variables(const std::string& row) const {
    const climlink_role role = role_of(row);
    py::list result;
    const std::vector<VariableRow> known = rows(role);
    for (std::size_t i = 0; i < known.size(); ++i)
      result.append(described(role, static_cast<int32_t>(i), known[i]));
    return result;
  }

  std::vector<std::pair<std::string, std::string>> carried() const {
    std::vector<std::pair<std::string, std::string>> pairs(
        static_cast<std::size_t>(number<int32_t>(climlink_carried_count)));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const char *output = nullptr, *input = nullptr;
      check(climlink_carried(handle_, static_cast<int32_t>(i), &output, &input));
      pairs[i] = {output, input};
    }
    return pairs;
  }

  std::vector<VariableRow> rows(climlink_role role) const {
    int32_t count = 0;
    int64_t total = 0;
    check(climlink_variable_count(handle_, role, &count, &total));
    std::vector<VariableRow> rows;
    for (int32_t i = 0; i < count; ++i) {
      const char *name = nullptr, *units = nullptr;
      int64_t variable_width = 0, offset = 0;
      check(climlink_variable(handle_, role, i, &name, &units, &variable_width, &offset));
      rows.emplace_back(name, units, variable_width, offset);
    }
    return rows;
  }

 private:
  py::dict described(climlink_role role, int32_t index, const VariableRow& row) const {
    int32_t n_dim = 0;
    const char* const* names = nullptr;
    const int64_t* sizes = nullptr;
    const char* purpose = nullptr;
    check(climlink_variable_dims(handle_, role, index, &n_dim, &names, &sizes));
    check(climlink_variable_role(handle_, role, index, &purpose));
    py::list dims;
    for (int32_t d = 0; d < n_dim; ++d) dims.append(names[d]);
    const auto& [name, units, variable_width, offset] = row;
    return py::dict(py::arg("name") = name, py::arg("units") = units, py::arg("dims") = dims,
                    py::arg("sizes") = std::vector<int64_t>(sizes, sizes + n_dim),
                    py::arg("role") = purpose, py::arg("width") = variable_width,
                    py::arg("offset") = offset);
  }
  int64_t width(climlink_role role) const {
    int32_t count = 0;
    int64_t total = 0;
    check(climlink_variable_count(handle_, role, &count, &total));
    return total;
  }
  template <class Function>
  std::string text(Function function) const {
    const char* value = nullptr;
    check(function(handle_, &value));
    return value;
  }
  template <class Number, class Function>
  Number number(Function function) const {
    Number value{};
    check(function(handle_, &value));
    return value;
  }

  climlink_emulator* handle_ = nullptr;
  int64_t n_column_ = 0;  // of the step
};

// The path as the file system has it, whatever its encoding.
std::string path_text(const py::object& path) {
  return py::module_::import("os").attr("fsencode")(path).cast<std::string>();
}

// Accepts str, bytes and os.PathLike, which std::variant alone would not.
std::variant<py::bytes, std::string> source_of(const py::object& source) {
  if (py::isinstance<py::bytes>(source)) return source.cast<py::bytes>();
  return path_text(source);
}

// The bytes that a call of the C interface gave, freed there.
template <class Call>
py::bytes given(const Call& call) {
  void* bytes = nullptr;
  int64_t size = 0;
  check(without_gil([&] { return call(&bytes, &size); }));
  const std::unique_ptr<void, void (*)(void*)> owner(bytes, climlink_free);
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

// Checks of files and archives for the Python side, which loads and reads no archive by other
// means.
void define_archives(py::module_& m) {
  m.def(
      "read_file",
      [](const py::object& path) {
        const std::string text = path_text(path);
        return given([&](void** bytes, int64_t* size) {
          return climlink_read_file(text.c_str(), bytes, size);
        });
      },
      py::arg("path"), "Return the bytes of a regular file below 2 GiB.");
  m.def(
      "check_archive",
      [](const py::bytes& archive, const std::string& name) {
        const std::string_view bytes = archive;
        check(without_gil([&] {
          return climlink_check_archive(bytes.data(), static_cast<int64_t>(bytes.size()),
                                        name.c_str());
        }));
      },
      py::arg("archive"), py::arg("name"),
      "Read every entry of a zip to its end; raise EmulatorError if one is damaged, twice or "
      "huge.");
  m.def(
      "check_code",
      [](const py::bytes& archive, const std::string& name) {
        const std::string_view bytes = archive;
        check(without_gil([&] {
          return climlink_check_code(bytes.data(), static_cast<int64_t>(bytes.size()),
                                     name.c_str());
        }));
      },
      py::arg("archive"), py::arg("name"),
      "Raise EmulatorError if TorchScript does more than compute.");
  m.def(
      "read_entry",
      [](const py::bytes& archive, const std::string& name, const std::string& suffix) {
        const std::string_view bytes = archive;
        return given([&](void** contents, int64_t* size) {
          return climlink_read_entry(bytes.data(), static_cast<int64_t>(bytes.size()), name.c_str(),
                                     suffix.c_str(), contents, size);
        });
      },
      py::arg("archive"), py::arg("name"), py::arg("suffix"),
      "Return the only entry whose path ends in suffix.");
  m.def(
      "processor_name", [] { return std::string(climlink_processor_name()); },
      "Model of this processor, as tuning files name it.");
  m.def(
      "compiled_obstacle",
      [](const py::bytes& package, const std::string& name, const py::object& compiled,
         const std::string& device) {
        const std::string_view bytes = package;
        const std::string path = path_text(compiled);
        const py::bytes reason = given([&](void** text, int64_t* size) {
          return climlink_compiled_obstacle(bytes.data(), static_cast<int64_t>(bytes.size()),
                                            name.c_str(), path.c_str(), device.c_str(), text, size);
        });
        return reason.attr("decode")();
      },
      py::arg("package"), py::arg("name"), py::arg("compiled"), py::arg("device"),
      "Return why a compiled artefact would not run here for a package; \"\" if it would.");
}

constexpr const char* class_doc = R"(One opened package: the C++ runtime behind Python.

Emulator(source, **options)

source is a path or the bytes of a package. options() lists the options with their defaults; None
stands for the default. level_count and time_step_s (s) are the host's claims, 0 for none. Opening
checks the digest, the manifest and the claims before anything is deserialized, loads and freezes
the graph, and replays the golden columns. constraints_off names constraints of the manifest that
this run leaves out; the golden columns are replayed with all of them on.
A package is code: one whose graph does more than compute is refused before it acts, unless
trust_code is true.
Use it from one thread at a time.)";

void define_emulator(py::module_& m) {
  py::class_<Emulator>(m, "Emulator", class_doc)
      .def(py::init([](const py::object& source, const py::kwargs& options) {
             return std::make_unique<Emulator>(source_of(source), options_from(options).get());
           }),
           py::arg("source"))
      .def("begin", &Emulator::begin, py::arg("n_column"),
           "Start a step of n_column samples; forgets what was set before.")
      .def("set", &Emulator::set, py::arg("name"), py::arg("values").noconvert(),
           py::arg("first_column") = 0,
           "Set samples of one input variable from a float32 or float64 array [sample, dims...] of "
           "any strides.")
      .def("run", &Emulator::run,
           "Run all samples; every input must be set for each, but carried ones only where start "
           "is 0.")
      .def("get", &Emulator::get, py::arg("name"), py::arg("values").noconvert(),
           py::arg("first_column") = 0,
           "Copy samples of one output variable into values, a writeable array like those of set.")
      .def("range_use", &Emulator::range_use,
           "Return how much the range policy holds each sample of the step, float64 [sample, 3]: "
           "values that the network sees clipped, heating by relaxation in W/m2, share of the mass "
           "relaxed. Needs every input set; runs no network.")
      .def("run_packed", &Emulator::run_packed, py::arg("x").noconvert(),
           "Return y [n_column, n_output] for packed rows x [n_column, n_input]; x must be "
           "C-contiguous float32.")
      .def("require_units", &Emulator::require_units, py::arg("role"), py::arg("name"),
           py::arg("units"),
           "Raise EmulatorError if the units of an \"input\" or \"output\" variable are others.")
      .def("require_coordinate", &Emulator::require_coordinate, py::arg("dim"), py::arg("values"),
           "Raise EmulatorError if the package has other coordinate values for a dimension; pass "
           "if it has none.")
      .def("dim_size", &Emulator::dim_size, py::arg("dim"),
           "Size of a dimension; 0 where the package has none of that name.")
      .def("variables", &Emulator::variables, py::arg("role"),
           "List of the \"input\" or \"output\" variables: name, units, dims, sizes, role, width, "
           "offset.")
      .def_property_readonly("carried", &Emulator::carried,
                             "List of (output, input of the next step).")
      .def_property_readonly("manifest", &Emulator::manifest, "The manifest as JSON text.")
      .def_property_readonly("host_postprocessing", &Emulator::host_postprocessing,
                             "What the graph asks of the host: none or legacy.")
      .def_property_readonly("digest", &Emulator::digest,
                             "SHA-256 of the package, 64 hexadecimal digits.")
      .def_property_readonly("device", &Emulator::device,
                             "Device in use, such as \"cpu\" or \"cuda:1\".")
      .def_property_readonly("engine", &Emulator::engine,
                             "What runs the network: \"torchscript\" or \"aotinductor\".")
      .def_property_readonly("precision", &Emulator::precision,
                             "Its precision: \"float32\" or \"bfloat16\".")
      .def_property_readonly("micro_batch", &Emulator::micro_batch,
                             "Samples of a forward on the CPU.")
      .def_property_readonly("device_memory", &Emulator::device_memory,
                             "bytes of the device: held by torch in this process, free for all "
                             "processes, total; 0 on the CPU and where torch does not tell")
      .def_property_readonly("engine_note", &Emulator::engine_note,
                             "Which compiled artefact runs, or why the one asked for does not.")
      .def_property_readonly("constraints_off", &Emulator::constraints_off,
                             "Constraints of the manifest that are switched off, in its order.")
      .def_property_readonly("has_range_policy", &Emulator::has_range_policy,
                             "Whether input_clip or range_relaxation is in the package and not "
                             "switched off.")
      .def_property_readonly("golden_difference", &Emulator::golden_difference,
                             "Largest difference of the golden replay at open.")
      .def_property_readonly("level_count", &Emulator::level_count,
                             "Size of the dimension level; 0 where the package has none.")
      .def_property_readonly("time_step_s", &Emulator::time_step_s,
                             "Time step in seconds; 0 where the package states none.")
      .def_property_readonly(
          "backend", [](const Emulator&) { return climlink_backend(); },
          "\"torchscript\" or \"stub\".")
      .def_property_readonly(
          "inputs", [](const Emulator& e) { return e.rows(CLIMLINK_INPUT); },
          "List of (name, units, width, offset).")
      .def_property_readonly(
          "outputs", [](const Emulator& e) { return e.rows(CLIMLINK_OUTPUT); },
          "List of (name, units, width, offset).");
}

// The bases of EmulatorError. Only the installed module has the package around it: tests of the
// build tree import it alone.
py::object error_bases(const std::string& module) {
  const py::object runtime_error = py::reinterpret_borrow<py::object>(PyExc_RuntimeError);
  if (module.rfind("climlink.", 0) != 0) return runtime_error;
  return py::make_tuple(py::module_::import("climlink.wrappers.errors").attr("ClimlinkError"),
                        runtime_error);
}

}  // namespace

PYBIND11_MODULE(_runtime, m) {
  m.doc() = "The climlink runtime (C interface) for Python.";
  const py::object bases = error_bases(py::str(m.attr("__name__")));
  emulator_error = PyErr_NewExceptionWithDoc(
      "climlink._runtime.EmulatorError",
      "A call of the runtime failed; .status is its short name, such as \"nonfinite\".",
      bases.ptr(), nullptr);
  if (emulator_error == nullptr) throw py::error_already_set();
  m.add_object("EmulatorError", py::reinterpret_borrow<py::object>(emulator_error));
  m.attr("__version__") = climlink_version();
  m.attr("backend") = climlink_backend();
  m.def(
      "options", option_rows,
      "List of the options of Emulator: name, type, default, set_by (\"user\" or \"host\"), help.");
  m.def(
      "check_options", [](const py::kwargs& options) { options_from(options); },
      "check_options(**options)\n\nRaises EmulatorError for an option that Emulator would refuse.");
  define_archives(m);
  define_emulator(m);
}
