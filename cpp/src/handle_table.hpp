// Objects behind numbers: a handle that was deleted, or is of another sort, is found out instead of
// dereferenced.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "error.hpp"

namespace climlink {

// Handle is an incomplete type of the C interface; its pointers are never followed. Sorts with
// different tags (1 to 3) have different numbers. Numbers are never used again.
template <class Handle, class Object, std::uintptr_t tag>
class HandleTable {
 public:
  // noun: what messages call the object.
  explicit HandleTable(const char* noun) : noun_(noun) {}

  Handle* add(Object object) {
    auto shared = std::make_shared<Object>(std::move(object));
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::uintptr_t number = 4 * ++count_ + tag;
    objects_.emplace(number, std::move(shared));
    return reinterpret_cast<Handle*>(number);
  }

  // Shared, so that an object in use by one thread survives its deletion by another. Throws Error:
  // STATE.
  std::shared_ptr<Object> at(const Handle* handle) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return found(handle)->second;
  }

  // Throws Error: STATE.
  void remove(const Handle* handle) {
    std::shared_ptr<Object> last;  // destroyed after the lock is released
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto place = found(handle);
    last = place->second;
    objects_.erase(place);
  }

 private:
  using Objects = std::unordered_map<std::uintptr_t, std::shared_ptr<Object>>;

  typename Objects::const_iterator found(const Handle* handle) const {
    if (handle == nullptr)
      fail(CLIMLINK_ERROR_STATE, "the ", noun_, " is not set; make or load it first");
    const auto number = reinterpret_cast<std::uintptr_t>(handle);
    const auto place = objects_.find(number);
    if (place != objects_.end()) return place;
    if (number % 4 == tag && number / 4 <= count_) {
      fail(CLIMLINK_ERROR_STATE, "the ", noun_,
           " was deleted before this call; delete it later, or make it again");
    }
    fail(CLIMLINK_ERROR_STATE, "the handle is no ", noun_,
         " of climlink; pass one that climlink made");
  }

  const char* noun_;
  mutable std::mutex mutex_;
  Objects objects_;
  std::uintptr_t count_ = 0;
};

}  // namespace climlink
