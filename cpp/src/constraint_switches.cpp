#include "constraint_switches.hpp"

#include <algorithm>
#include <string_view>

#include "error.hpp"
#include "near_names.hpp"

namespace climlink {
namespace {

std::string_view without_blanks(std::string_view part) {
  constexpr std::string_view blanks = " \t\n";
  const std::size_t first = part.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return part.substr(first, part.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string_view> parts_of(std::string_view list) {
  std::vector<std::string_view> parts;
  if (without_blanks(list).empty()) return parts;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t comma = std::min(list.find(',', start), list.size());
    parts.push_back(without_blanks(list.substr(start, comma - start)));
    start = comma + 1;
  }
  return parts;
}

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

void check_name(std::string_view name, const std::vector<std::string>& known,
                const std::string& package) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  fail(CLIMLINK_ERROR_ARGUMENT, package, ": constraints_off names \"", name,
       "\", which is no constraint of this package.",
       near_names(name, {known.begin(), known.end()}), " It has: ", joined(known),
       ". Separate names by commas");
}

}  // namespace

std::vector<std::string> constraints_to_switch_off(const char* list, const Manifest& manifest,
                                                   const std::string& package) {
  std::vector<std::string> chosen;
  const auto wanted = parts_of(list == nullptr ? "" : list);
  if (wanted.empty()) return chosen;
  if (!manifest.constraints) {
    fail(CLIMLINK_ERROR_ARGUMENT, package, ": constraints_off is \"", without_blanks(list),
         "\", but this package is an imported graph: what it does to its outputs is inside it, "
         "unknown and without switches. "
         "Leave constraints_off blank, or use a package made by `climlink export`");
  }
  for (const auto name : wanted) check_name(name, *manifest.constraints, package);
  for (const auto& name : *manifest.constraints) {
    const auto count = std::count(wanted.begin(), wanted.end(), name);
    if (count > 1)
      fail(CLIMLINK_ERROR_ARGUMENT, package, ": constraints_off names \"", name, "\" ", count,
           " times; name it once");
    if (count == 1) chosen.push_back(name);
  }
  return chosen;
}

}  // namespace climlink
