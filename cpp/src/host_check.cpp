#include "host_check.hpp"

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"
#include "near_names.hpp"

namespace climlink {
namespace {

using HostVariable = climlink_host_variable;

// All that does not fit in one respect: "heading: item, item".
struct Complaint {
  std::string heading;
  std::vector<std::string> items;

  std::string text() const {
    std::string result;
    for (const auto& item : items) result += (result.empty() ? "" : ", ") + item;
    return heading + ": " + result;
  }
};

std::string with_near_names(std::string_view name, const std::vector<std::string_view>& names) {
  const std::string near = near_list(name, names);
  return near.empty() ? std::string(name) : text(name, " (near names: ", near, ")");
}

std::vector<std::string_view> names_of(std::span<const HostVariable> variables, bool taken) {
  std::vector<std::string_view> names;
  for (const auto& v : variables)
    if ((v.taken != 0) == taken) names.emplace_back(v.name);
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string result;
  for (const auto& word : words) result += (result.empty() ? "" : " ") + word;
  return "[" + result + "]";
}

std::vector<std::string> words_of(const char* list) {
  std::istringstream stream(list);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

class Comparison {
 public:
  Comparison(const Manifest& manifest, std::span<const HostVariable> variables)
      : manifest_(manifest), variables_(variables) {
    find_missing_inputs();
    for (const bool taken : {false, true}) find_doubled(taken);
    for (const auto& v : variables_) hold(v);
  }

  void check() const {
    std::string message;
    for (const auto* complaint :
         {&missing_, &lacking_, &doubled_, &not_the_hosts_, &units_, &dims_}) {
      if (!complaint->items.empty()) message += (message.empty() ? "" : "; ") + complaint->text();
    }
    if (message.empty()) return;
    const bool names =
        !missing_.items.empty() || !lacking_.items.empty() || !doubled_.items.empty();
    fail(names ? CLIMLINK_ERROR_VARIABLE : CLIMLINK_ERROR_HOST, "the package ", manifest_.name,
         " does not fit this host: ", message,
         ". Use a package made for this host, or change the host's table");
  }

 private:
  void find_missing_inputs() {
    const auto given = names_of(variables_, false);
    for (const auto& v : manifest_.inputs.variables) {
      if (v.role != VariableRole::value) continue;
      if (std::find(given.begin(), given.end(), v.name) == given.end())
        missing_.items.push_back(with_near_names(v.name, given));
    }
  }

  void find_doubled(bool taken) {
    std::set<std::string_view> seen, reported;
    for (const auto name : names_of(variables_, taken)) {
      if (!seen.insert(name).second && reported.insert(name).second)
        doubled_.items.emplace_back(name);
    }
  }

  void hold(const HostVariable& host) {
    const Layout& layout = host.taken != 0 ? manifest_.outputs : manifest_.inputs;
    const std::int64_t index = layout.find(host.name);
    if (index < 0) {
      if (host.taken != 0) lacking_.items.push_back(with_near_names(host.name, layout.names()));
      return;
    }
    const Variable& v = layout.variables[static_cast<std::size_t>(index)];
    if (host.taken == 0 && v.role != VariableRole::value) {
      not_the_hosts_.items.push_back(
          text(v.name, " (", role_text(v.role), "): give it another name in the package"));
      return;
    }
    compare(host, v);
  }

  void compare(const HostVariable& host, const Variable& v) {
    const std::string_view units = host.units == nullptr ? "" : host.units;
    if (!units.empty() && units != v.units)
      units_.items.push_back(text(v.name, " (host ", units, ", package ", v.units, ")"));
    if (host.dims == nullptr) return;
    auto dims = words_of(host.dims), wanted = v.dims;
    const std::string shown = joined(dims);
    std::sort(dims.begin(), dims.end());
    std::sort(wanted.begin(), wanted.end());
    if (dims != wanted)
      dims_.items.push_back(text(v.name, " (host ", shown, ", package ", joined(v.dims), ")"));
  }

  const Manifest& manifest_;
  std::span<const HostVariable> variables_;
  Complaint missing_{"inputs that the host does not give", {}};
  Complaint lacking_{"outputs that the host takes and the package does not have", {}};
  Complaint doubled_{"names that stand twice in the host's table", {}};
  Complaint not_the_hosts_{"inputs that the host gives, but the emulator keeps by itself", {}};
  Complaint units_{"other units (convert in the host, with one constant)", {}};
  Complaint dims_{"other dims", {}};
};

}  // namespace

void check_host_variables(const Manifest& manifest,
                          std::span<const climlink_host_variable> variables) {
  Comparison(manifest, variables).check();
}

}  // namespace climlink
