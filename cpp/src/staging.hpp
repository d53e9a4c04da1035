// Rows on their way to a network and back.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>
#include <c10/core/StreamGuard.h>

#include <cstdint>
#include <optional>

#include "backend.hpp"

namespace climlink {

// On the CPU the caller's own rows are used where they lie. On a device they go through pinned
// buffers that are kept from step to step: one copy each way, on one stream of the device's own.
class Staging {
 public:
  explicit Staging(c10::Device device);

  // Where the network runs; empty on the CPU. Whoever runs it makes this the current stream.
  const std::optional<c10::Stream>& stream() const { return stream_; }

  // The rows as a tensor [n_row, n_input] on the device, which may still be on their way on the
  // stream. On the CPU it is the caller's memory or a kept buffer: valid until the next call.
  at::Tensor bring(const Rows& rows);
  // The same into a tensor that is there.
  void bring_into(const Rows& rows, at::Tensor& target);
  // target [n_column, width] in host memory = the first rows of result [n_row, width] on the
  // device. Returns when they are there.
  template <class Value>
  void fetch(const at::Tensor& result, std::int64_t n_column, Value* target);

 private:
  // The rows in host memory from which they may be brought.
  at::Tensor host_rows(const Rows& rows);
  // Of a kept buffer, its first n_row rows; a larger one is made where it is too small.
  at::Tensor room(at::Tensor& kept, std::int64_t n_row, std::int64_t width, at::ScalarType type);

  c10::Device device_;
  std::optional<c10::Stream> stream_;
  at::Tensor inputs_, outputs_, use_;  // kept buffers [value]: of rows, of float and double results
};

}  // namespace climlink
