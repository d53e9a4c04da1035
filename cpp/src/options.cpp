#include "options.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>

#include "device.hpp"
#include "error.hpp"
#include "near_names.hpp"
#include "sha256.hpp"

namespace climlink {
namespace {

// The whole text as a number; independent of the locale.
template <class Number>
std::optional<Number> number(const std::string& text) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  Number value{};
  stream >> value;
  if (stream.fail() || stream.peek() != std::istringstream::traits_type::eof()) return {};
  return value;
}

template <std::int32_t smallest>
bool from(const std::string& value) {
  return number<std::int32_t>(value).value_or(smallest - 1) >= smallest;
}

bool not_negative(const std::string& value) {
  const double v = number<double>(value).value_or(-1);
  return std::isfinite(v) && v >= 0;
}

bool is_fraction(const std::string& value) {
  const double v = number<double>(value).value_or(-1);
  return v >= 0 && v <= 1;
}

bool is_logical(const std::string& value) { return value == "true" || value == "false"; }

bool is_digest_or_blank(const std::string& value) { return value.empty() || is_sha256_hex(value); }

bool is_language(const std::string& value) { return value == "c" || value == "fortran"; }

bool anything(const std::string&) { return true; }

}  // namespace

const std::array<Option, option_count> option_table = {{
    {"device", "text", "cpu", "user", is_device_policy, device_policies,
     "where the network runs: \"cpu\"; \"cuda\" or \"xpu\" (local_rank modulo the number of "
     "devices); "
     "\"cuda:N\" or \"xpu:N\"; or \"auto\" (cuda where present, else cpu)"},
    {"device_memory_fraction", "real", "0", "user", is_fraction,
     "a part of the device's memory, 0 (no cap) to 1",
     "part of a GPU's memory that torch may take in this process, beside what the host takes "
     "itself; "
     "0: no cap"},
    {"cuda_graphs", "logical", "false", "user", is_logical,
     "false (kernels start one by one) or true",
     "record forwards of a step's size on a GPU when the package is opened, and replay them: give "
     "column_count too. The note of the engine says whether it could be done"},
    {"threads", "integer", "1", "user", from<1>, "an integer, 1 or more", "threads of one forward"},
    {"micro_batch", "integer", "64", "user", from<2>, "an integer, 2 or more samples per forward",
     "samples per forward on the CPU, rounded up to a multiple of the package's batch granule; a "
     "GPU takes all at once, and a package of granule 1 (fields) one sample on any device"},
    {"tuning", "text", "", "user", anything, "a file made by `climlink bench --tune`, or blank",
     "file with measured micro-batches: that for this processor, number of threads, package and "
     "engine is taken instead of micro_batch; blank: none"},
    {"pinned_sha256", "text", "", "user", is_digest_or_blank,
     "64 hexadecimal digits, or blank for no check",
     "SHA-256 that the file must have, 64 hexadecimal digits; blank: no check"},
    {"compiled", "text", "", "user", anything, "a file made by `climlink compile`, or blank",
     "compiled artefact of the package that runs instead of its graph; blank: none. It runs only "
     "if "
     "compiled_sha256 pins it"},
    {"compiled_sha256", "text", "", "user", is_digest_or_blank,
     "64 hexadecimal digits, or blank for no compiled artefact",
     "SHA-256 of the artefact in compiled, 64 hexadecimal digits: it is native code"},
    {"constraints_off", "names", "", "user", anything, "names separated by commas",
     "constraints of the manifest left out in this run; blank: none"},
    {"trust_code", "logical", "false", "user", is_logical,
     "false (the graph's code is checked) or true",
     "leave out the check of what the graph's code may do; for files whose author you trust"},
    {"group_size", "integer", "1", "user", from<0>,
     "an integer, the ranks of a node that share one network, or 0 for those that share a device",
     "ranks of a node that share one network: the first of them runs it on the columns of all; 0: "
     "as many as share a GPU, or all of the node without one"},
    {"group_timeout_s", "integer", "600", "user", from<0>,
     "an integer, seconds, or 0 to wait without end",
     "how long a rank of a group waits for another one that lives, in seconds; 0: without end. One "
     "that has ended is noticed at once"},
    {"level_count", "integer", "0", "host", from<0>,
     "an integer, the host's number of levels, or 0 for no claim",
     "number of model levels of the host; 0: no claim"},
    {"time_step_s", "real", "0", "host", not_negative,
     "a number, the host's time step in seconds, or 0 for no claim",
     "physics time step of the host in seconds; 0: no claim"},
    {"column_count", "integer", "0", "host", from<0>,
     "an integer, the columns of a step in this process, or 0 where that is not known",
     "columns of a step in this process: forwards of just these sizes run once when the package is "
     "opened, so that the first step is not slower; 0: not known"},
    {"local_rank", "integer", "0", "host", from<0>, "an integer, the rank on this node, 0 or more",
     "rank on this node, which chooses the device of \"cuda\" and \"auto\""},
    {"language", "text", "c", "host", is_language, "\"c\" or \"fortran\"",
     "how messages count and name calls: \"c\" (from 0) or \"fortran\" (from 1)"},
}};

namespace {

std::string_view without_blanks(std::string_view part) {
  constexpr std::string_view blanks = " \t\n";
  const std::size_t first = part.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return part.substr(first, part.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string> parts_of(std::string_view list) {
  std::vector<std::string> parts;
  if (without_blanks(list).empty()) return parts;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t comma = std::min(list.find(',', start), list.size());
    parts.emplace_back(without_blanks(list.substr(start, comma - start)));
    start = comma + 1;
  }
  return parts;
}

std::size_t index_of(std::string_view name) {
  const auto found = std::find_if(option_table.begin(), option_table.end(),
                                  [&](const Option& option) { return option.name == name; });
  if (found != option_table.end()) return static_cast<std::size_t>(found - option_table.begin());
  std::vector<std::string_view> known;
  std::string list;
  for (const auto& option : option_table) {
    known.emplace_back(option.name);
    list += text(list.empty() ? "" : ", ", option.name);
  }
  fail(CLIMLINK_ERROR_ARGUMENT, "\"", name, "\" is not an option.", near_names(name, known),
       " The options are ", list);
}

// One spelling of every value, whatever a C text, a namelist or Python writes.
std::string spelled(const Option& option, std::string_view given) {
  const std::string_view type = option.type;
  std::string value(without_blanks(given));
  if (type == "names") {
    const auto parts = parts_of(given);
    value.clear();
    for (std::size_t i = 0; i < parts.size(); ++i) value += (i == 0 ? "" : ",") + parts[i];
  } else if (type == "logical") {
    const std::string lower = lower_case(value);
    for (const char* yes : {"true", ".true.", "t", "1"})
      if (lower == yes) return "true";
    for (const char* no : {"false", ".false.", "f", "0"})
      if (lower == no) return "false";
  }
  return value;
}

}  // namespace

Options::Options() {
  for (std::size_t i = 0; i < option_count; ++i) values_[i] = option_table[i].value;
}

void Options::set(std::string_view name, std::string_view given) {
  const std::size_t index = index_of(name);
  const Option& option = option_table[index];
  std::string value = spelled(option, given);
  if (!option.fits(value))
    fail(CLIMLINK_ERROR_ARGUMENT, "option ", name, " is \"", given, "\"; expected ",
         option.expected);
  values_[index] = std::move(value);
}

const std::string& Options::text(std::string_view name) const { return values_[index_of(name)]; }

std::int32_t Options::integer(std::string_view name) const {
  return number<std::int32_t>(text(name)).value();
}

double Options::real(std::string_view name) const { return number<double>(text(name)).value(); }

std::vector<std::string> Options::names(std::string_view name) const {
  return parts_of(text(name));
}

Wording Options::wording() const {
  return {text("language") == "fortran" ? Language::fortran : Language::c};
}

void check_host_claims(const Options& o, const Manifest& m, const std::string& name) {
  // 0 on either side: no claim.
  const std::int64_t has_levels = o.integer("level_count"), level_count = m.dim_size("level");
  if (has_levels != 0 && level_count != 0 && has_levels != level_count) {
    fail(CLIMLINK_ERROR_HOST, name, ": the host has ", has_levels,
         " levels, the package was trained for ", level_count,
         ". Use a package for this vertical grid");
  }
  constexpr double relative =
      1e-9;  // room for a time step that was divided and multiplied, far below any real difference
  const double time_step_s = o.real("time_step_s");
  if (time_step_s != 0 && m.time_step_s != 0 &&
      std::fabs(time_step_s - m.time_step_s) > relative * m.time_step_s) {
    fail(CLIMLINK_ERROR_HOST, name, ": the host's time step is ", time_step_s,
         " s, the package was trained for ", m.time_step_s, " s. Use a package for this time step");
  }
}

}  // namespace climlink
