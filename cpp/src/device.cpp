#include "device.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "error.hpp"

namespace climlink {
namespace {

const char* name_of(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::cuda:
      return "cuda";
    case DeviceKind::xpu:
      return "xpu";
    case DeviceKind::cpu:
      break;
  }
  return "cpu";
}

// What a policy says: a kind, and a number where it names one device of it.
struct Wanted {
  DeviceKind kind;
  std::optional<int> number;
};

// Digits only.
std::optional<int> number_of(std::string_view digits) {
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool only_digits = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
    return c >= '0' && c <= '9';
  });
  if (!only_digits || error != std::errc() || end != digits.data() + digits.size()) return {};
  return number;
}

// "auto" is a wish for cuda, which need not be there.
std::optional<Wanted> wanted_by(std::string_view policy) {
  if (policy == "cpu") return Wanted{DeviceKind::cpu, {}};
  if (policy == "auto") return Wanted{DeviceKind::cuda, {}};
  for (const DeviceKind kind : {DeviceKind::cuda, DeviceKind::xpu}) {
    const std::string_view name = name_of(kind);
    if (policy.substr(0, name.size()) != name) continue;
    const std::string_view rest = policy.substr(name.size());
    if (rest.empty()) return Wanted{kind, {}};
    if (rest.front() != ':') continue;
    if (const auto number = number_of(rest.substr(1))) return Wanted{kind, number};
  }
  return {};
}

[[noreturn]] void fail_without_devices(std::string_view policy, DeviceKind kind) {
  const char* causes = kind == DeviceKind::cuda
                           ? "the driver, CUDA_VISIBLE_DEVICES and that this libtorch is built for "
                             "CUDA or ROCm"
                           : "the driver, ZE_AFFINITY_MASK and that this libtorch is built for XPU";
  fail(CLIMLINK_ERROR_DEVICE, "device \"", policy, "\" was asked for, but this process sees no ",
       name_of(kind), " device; use \"cpu\" or \"auto\", or check ", causes);
}

}  // namespace

std::string Device::type() const { return name_of(kind); }

bool is_device_policy(const std::string& policy) { return wanted_by(policy).has_value(); }

int choices_of(std::string_view policy, const DeviceCount& count) {
  const auto wanted = wanted_by(policy);
  if (!wanted || wanted->kind == DeviceKind::cpu || wanted->number) return 0;
  return std::max(0, count(wanted->kind));
}

Device choose_device(std::string_view policy, int local_rank, const DeviceCount& count) {
  if (local_rank < 0)
    fail(CLIMLINK_ERROR_ARGUMENT, "local_rank is ", local_rank,
         "; expected the rank on this node, 0 or more");
  const auto wanted = wanted_by(policy);
  if (!wanted)
    fail(CLIMLINK_ERROR_ARGUMENT, "device \"", policy, "\" is not known; expected ",
         device_policies);
  if (wanted->kind == DeviceKind::cpu) return {};
  const int there = count(wanted->kind);
  if (there <= 0) {
    if (policy == "auto") return {};
    fail_without_devices(policy, wanted->kind);
  }
  const int number = wanted->number.value_or(local_rank % there);
  if (number >= there) {
    fail(CLIMLINK_ERROR_DEVICE, "device \"", policy, "\" was asked for, but this process sees ",
         there, " ", name_of(wanted->kind), " device(s), numbered from 0");
  }
  return {wanted->kind, number};
}

}  // namespace climlink
