#include "device.hpp"

#include <algorithm>
#include <charconv>

#include "error.hpp"

namespace climlink {
namespace {

constexpr std::string_view numbered = "cuda:";

// The N of "cuda:N"; -1 for any other text.
int device_number(std::string_view policy) {
  if (policy.substr(0, numbered.size()) != numbered) return -1;
  const std::string_view digits = policy.substr(numbered.size());
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool only_digits = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
    return c >= '0' && c <= '9';
  });
  if (!only_digits || error != std::errc() || end != digits.data() + digits.size()) return -1;
  return number;
}

}  // namespace

bool is_device_policy(const std::string& policy) {
  return policy == "cpu" || policy == "cuda" || policy == "auto" || device_number(policy) >= 0;
}

Device choose_device(std::string_view policy, int local_rank, int device_count) {
  if (local_rank < 0)
    fail(CLIMLINK_ERROR_ARGUMENT, "local_rank is ", local_rank,
         "; expected the rank on this node, 0 or more");
  if (!is_device_policy(std::string(policy)))
    fail(CLIMLINK_ERROR_ARGUMENT, "device \"", policy, "\" is not known; expected ",
         device_policies);
  if (policy == "cpu" || (policy == "auto" && device_count <= 0)) return {false, 0};
  const bool by_rank = policy == "cuda" || policy == "auto";
  const int number = by_rank ? 0 : device_number(policy);
  if (device_count <= 0) {
    fail(CLIMLINK_ERROR_DEVICE, "device \"", policy,
         "\" was asked for, but this process sees no CUDA device; use \"cpu\" or \"auto\", or "
         "check ",
         "the driver, CUDA_VISIBLE_DEVICES and that this libtorch is built for CUDA");
  }
  if (by_rank) return {true, local_rank % device_count};
  if (number >= device_count) {
    fail(CLIMLINK_ERROR_DEVICE, "device \"", policy, "\" was asked for, but this process sees ",
         device_count, " CUDA device(s), numbered from 0");
  }
  return {true, number};
}

}  // namespace climlink
