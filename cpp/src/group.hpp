// Ranks of one node that share one network. Their columns lie in memory that all of them see, one
// after the other; the first rank, the leader, runs the network on all of them, and the others read
// the results where they are.
//
// A rank may die or hang at any time. So no call waits blindly: whoever waits looks at the flags of
// the others, whether their processes live, and at the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "climlink/climlink.h"
#include "engine.hpp"
#include "error.hpp"

namespace climlink {

// Part of the memory that the ranks share; group.cpp has its layout.
struct GroupMemory;

// What a leader's network is and how it answered the golden columns.
struct GroupNetwork {
  std::string device;
  Engine engine;
  double golden_difference = 0.0;
};

class Group {
 public:
  // What a call does: all ranks of a group make the same calls in the same order.
  enum class Call : std::int32_t { open = 1, begin, run, range_use, leave };
  // Rows of some neighbouring columns: inputs, outputs, and what range_use gives.
  struct Rows {
    float* x = nullptr;     // [n_column, n_input]
    float* y = nullptr;     // [n_column, n_output]
    double* use = nullptr;  // [n_column, range_use_width]
    std::int64_t n_column = 0;
  };
  using Work = std::function<void(const Rows&)>;

  // timeout_s: how long a call waits for a rank that lives; 0: without end. Throws Error(ARGUMENT)
  // for a place that cannot be.
  Group(const climlink_group& place, std::int32_t timeout_s);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  bool leads() const { return place_.rank == 0; }
  int size() const { return place_.size; }

  // The calls below throw Error(GROUP) where a rank has died or does not come.

  // The leader loads, the others wait for it and throw what it threw.
  void open(const std::function<void()>& load);
  // What the leader tells the others of its network, within open, and they read after it.
  void tell(const GroupNetwork& network);
  GroupNetwork told() const;

  // A step of this rank begins: call it first, whatever then fails.
  void next_step();
  // Waits for all ranks to begin and gives this rank its rows.
  Rows begin(std::int64_t n_column, std::int64_t n_input, std::int64_t n_output);
  // The leader works on the rows of all ranks that are in the step, the others wait for it and
  // throw what it threw.
  void run(Call call, const Work& work);
  // This rank takes no further part in the step, because of this error: nobody waits for it. In a
  // step that the leader has left, the others' calls fail with its message.
  void leave_step(climlink_status status, const char* message) noexcept;
  // Waits for all ranks to call it; nothing is called after it.
  void leave();

 private:
  std::int64_t number() const;
  void arrive(Call call);
  bool has_arrived(int rank) const;
  bool has_left(int rank) const;
  // The first rank that is not at the present call yet and has not left the step; -1: none.
  int missing(Call call);
  bool is_here(int rank, Call call) const;
  void allocate(std::int64_t total, std::int64_t n_input, std::int64_t n_output);
  Rows rows(std::int64_t first, std::int64_t n_column) const;
  void work_on_all(Call call, const Work& work);
  // Runs the leader's part of the present call and lets the others know what became of it.
  void lead(const std::function<void()>& work);
  // Waits for the leader's part.
  void follow(Call call);
  bool is_answered(Call call);
  // Waits until waits_for gives no rank any more.
  void await(Call call, const std::function<int()>& waits_for);
  void check_ranks(Call call);
  [[noreturn]] void give_up(const std::string& message);
  void throw_if_broken() const;
  std::string name_of(int rank) const;

  climlink_group place_;
  std::chrono::seconds timeout_;
  GroupMemory* memory_;
  std::int64_t step_ = 1;      // open is the only call of step 1
  std::int64_t call_ = 0;      // within the step
  std::vector<bool> seen_;     // [rank]: its process was seen alive
  std::int64_t capacity_ = 0;  // columns that the shared rows have room for
  std::int64_t n_input_ = 0, n_output_ = 0;
  std::byte* shared_ = nullptr;      // the rows of all ranks
  std::vector<std::int64_t> first_;  // [rank + 1]: first column of each rank in this step
};

// Bytes that GroupMemory needs for size ranks.
std::int64_t group_memory_bytes(int size);

}  // namespace climlink
