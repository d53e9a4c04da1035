// torchscript.h: any TorchScript file on strided tensors, with handles that are checked.
#include <climlink/torchscript.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string file(const std::string& name) { return std::string(CLIMLINK_TORCHSCRIPT) + "/" + name; }

climlink_tensor* wrapped(std::vector<float>& values, const std::vector<std::int64_t>& shape,
                         const std::vector<std::int64_t>& stride) {
  climlink_tensor* tensor = nullptr;
  const auto rank = static_cast<std::int32_t>(shape.size());
  REQUIRE(climlink_tensor_wrap(values.data(), CLIMLINK_KIND_FLOAT32, rank, shape.data(),
                               stride.data(), "cpu", &tensor) == CLIMLINK_OK);
  return tensor;
}

climlink_tensor* row(std::vector<float>& values) {
  return wrapped(values, {static_cast<std::int64_t>(values.size())}, {1});
}

climlink_module* loaded(const std::string& name) {
  climlink_module* module = nullptr;
  INFO(climlink_last_message());
  REQUIRE(climlink_module_load(file(name).c_str(), "cpu", &module) == CLIMLINK_OK);
  return module;
}

climlink_value value(const climlink_tensor* tensor) {
  return {CLIMLINK_VALUE_TENSOR, tensor, 0.0, 0};
}

climlink_status forward(const climlink_module* module, const climlink_tensor* input,
                        const climlink_tensor* output) {
  const climlink_value argument = value(input);
  return climlink_module_forward(module, &argument, 1, &output, 1);
}

bool says(const std::string& text) {
  return std::string(climlink_last_message()).find(text) != std::string::npos;
}

// Strides for a random order of axes, with gaps between elements.
std::vector<std::int64_t> random_strides(const std::vector<std::int64_t>& shape,
                                         std::mt19937& random) {
  std::vector<std::size_t> order(shape.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), random);
  std::vector<std::int64_t> stride(shape.size());
  std::int64_t elements = 1;
  for (const std::size_t axis : order) {
    elements *= 1 + static_cast<std::int64_t>(random() % 2);
    stride[axis] = elements;
    elements *= shape[axis];
  }
  return stride;
}

// Calls visit(index) for every index of a shape.
template <class Visit>
void each_index(const std::vector<std::int64_t>& shape, const Visit& visit) {
  std::vector<std::int64_t> index(shape.size(), 0);
  while (true) {
    visit(index);
    std::size_t axis = 0;
    while (axis < shape.size() && ++index[axis] == shape[axis]) index[axis++] = 0;
    if (axis == shape.size()) return;
  }
}

std::size_t offset(const std::vector<std::int64_t>& index,
                   const std::vector<std::int64_t>& stride) {
  return static_cast<std::size_t>(
      std::inner_product(index.begin(), index.end(), stride.begin(), std::int64_t{0}));
}

}  // namespace

TEST_CASE("any layout on both sides: elements keep their index, gaps are not written",
          "[torchscript]") {
  std::mt19937 random(1);
  climlink_module* numbered = loaded("numbered.pt");
  const std::array<std::int64_t, 5> weights{1, 2, 6, 12, 36};
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<std::int64_t> shape(1 + random() % 5);
    for (auto& extent : shape) extent = 1 + static_cast<std::int64_t>(random() % 4);
    const auto from = random_strides(shape, random);
    const auto to = random_strides(shape, random);
    std::vector<float> x(20000, 5.0F);
    std::vector<float> y(20000, -1.0F);
    climlink_tensor* input = wrapped(x, shape, from);
    climlink_tensor* output = wrapped(y, shape, to);
    REQUIRE(forward(numbered, input, output) == CLIMLINK_OK);
    std::size_t written = 0;
    each_index(shape, [&](const std::vector<std::int64_t>& index) {
      const auto expected =
          5 + std::inner_product(index.begin(), index.end(), weights.begin(), std::int64_t{0});
      CHECK(y[offset(index, to)] == static_cast<float>(expected));
      ++written;
    });
    CHECK(static_cast<std::size_t>(std::count(y.begin(), y.end(), -1.0F)) == y.size() - written);
    CHECK(climlink_tensor_delete(&input) == CLIMLINK_OK);
    CHECK(climlink_tensor_delete(&output) == CLIMLINK_OK);
  }
  CHECK(climlink_module_delete(&numbered) == CLIMLINK_OK);
}

TEST_CASE("a handle is refused after deletion and as something else", "[torchscript]") {
  std::vector<float> values(5, 1.0F);
  climlink_module* twice = loaded("twice.pt");
  climlink_tensor* tensor = row(values);
  climlink_tensor* again = tensor;
  CHECK(climlink_tensor_delete(&tensor) == CLIMLINK_OK);
  CHECK(tensor == nullptr);
  CHECK(climlink_tensor_delete(&tensor) == CLIMLINK_OK);
  climlink_tensor* other = row(values);
  CHECK(other != again);
  climlink_tensor_info info;
  CHECK(climlink_tensor_describe(again, &info) == CLIMLINK_ERROR_STATE);
  CHECK(says("the tensor was deleted before this call"));
  CHECK(forward(twice, again, other) == CLIMLINK_ERROR_STATE);
  CHECK(forward(twice, other, again) == CLIMLINK_ERROR_STATE);
  CHECK(climlink_tensor_delete(&again) == CLIMLINK_ERROR_STATE);
  CHECK(climlink_tensor_zero(reinterpret_cast<const climlink_tensor*>(twice)) ==
        CLIMLINK_ERROR_STATE);
  CHECK(says("the handle is no tensor of climlink"));
  CHECK(climlink_tensor_zero(reinterpret_cast<const climlink_tensor*>(&info)) ==
        CLIMLINK_ERROR_STATE);
  CHECK(climlink_tensor_zero(nullptr) == CLIMLINK_ERROR_STATE);
  climlink_module* stale = twice;
  CHECK(climlink_module_delete(&twice) == CLIMLINK_OK);
  CHECK(forward(stale, other, other) == CLIMLINK_ERROR_STATE);
  CHECK(says("the module was deleted before this call"));
  CHECK(climlink_tensor_delete(&other) == CLIMLINK_OK);
}

TEST_CASE("shared memory lives as long as one of its handles", "[torchscript]") {
  const std::int64_t shape[] = {2, 3};
  climlink_tensor* tensor = nullptr;
  climlink_tensor* shared = nullptr;
  climlink_tensor_info info;
  REQUIRE(climlink_tensor_create(CLIMLINK_KIND_INT64, 2, shape, CLIMLINK_FILL_ONES, "cpu",
                                 &tensor) == CLIMLINK_OK);
  REQUIRE(climlink_tensor_share(tensor, &shared) == CLIMLINK_OK);
  REQUIRE(climlink_tensor_delete(&tensor) == CLIMLINK_OK);
  REQUIRE(climlink_tensor_describe(shared, &info) == CLIMLINK_OK);
  CHECK(info.kind == CLIMLINK_KIND_INT64);
  CHECK(info.rank == 2);
  CHECK(info.shape[1] == 3);
  CHECK(info.stride[0] == 3);
  CHECK(info.device_index == -1);
  CHECK(info.contiguous == 1);
  CHECK(static_cast<const std::int64_t*>(info.data)[5] == 1);
  char* text = nullptr;
  REQUIRE(climlink_tensor_text(shared, &text) == CLIMLINK_OK);
  CHECK(std::string(text).find("1  1  1") != std::string::npos);
  climlink_free(text);
  CHECK(climlink_tensor_delete(&shared) == CLIMLINK_OK);
}

TEST_CASE("what is no tensor is refused", "[torchscript]") {
  float x[4] = {};
  climlink_tensor* tensor = nullptr;
  const auto wrap = [&](void* data, int kind, std::int32_t rank, std::vector<std::int64_t> shape,
                        std::vector<std::int64_t> stride, const char* device) {
    return climlink_tensor_wrap(data, static_cast<climlink_kind>(kind), rank, shape.data(),
                                stride.data(), device, &tensor);
  };
  CHECK(wrap(x, 6, 1, {4}, {0}, "cpu") == CLIMLINK_ERROR_SHAPE);
  CHECK(wrap(x, 6, 1, {4}, {-1}, "cpu") == CLIMLINK_ERROR_SHAPE);
  CHECK(wrap(x, 6, 1, {-4}, {1}, "cpu") == CLIMLINK_ERROR_SHAPE);
  CHECK(wrap(x, 6, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, "cpu") ==
        CLIMLINK_ERROR_SHAPE);
  CHECK(wrap(x, 5, 1, {4}, {1}, "cpu") == CLIMLINK_ERROR_ARGUMENT);
  CHECK(wrap(x, 6, 1, {4}, {1}, "gpu") == CLIMLINK_ERROR_ARGUMENT);
  CHECK(wrap(x, 6, 1, {4}, {1}, "cuda:63") == CLIMLINK_ERROR_DEVICE);
  CHECK(wrap(nullptr, 6, 1, {4}, {1}, "cpu") == CLIMLINK_ERROR_ARGUMENT);
  CHECK(tensor == nullptr);
  CHECK(wrap(nullptr, 6, 2, {0, 4}, {1, 1}, "cpu") == CLIMLINK_OK);
  CHECK(climlink_tensor_delete(&tensor) == CLIMLINK_OK);
  CHECK(climlink_tensor_wrap(x, CLIMLINK_KIND_FLOAT32, 0, nullptr, nullptr, "cpu", nullptr) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_tensor_create(CLIMLINK_KIND_INT8, 1, nullptr, CLIMLINK_FILL_NONE, "cpu",
                               &tensor) == CLIMLINK_ERROR_ARGUMENT);
}

TEST_CASE("outputs that do not all fit are not written", "[torchscript]") {
  std::vector<float> a(3, 1.0F), b(2, 1.0F), ya(3, -1.0F), yb(5, -1.0F);
  climlink_module* both = loaded("two_of_two.pt");
  const std::array<climlink_tensor*, 4> t{row(a), row(b), row(ya), row(yb)};
  const std::array<climlink_value, 2> inputs{value(t[0]), value(t[1])};
  const std::array<const climlink_tensor*, 2> outputs{t[2], t[3]};
  CHECK(climlink_module_forward(both, inputs.data(), 2, outputs.data(), 2) == CLIMLINK_ERROR_SHAPE);
  CHECK(says("output 2 of 2: the module returns Float [2], the output tensor is Float [5]"));
  CHECK(ya == std::vector<float>(3, -1.0F));
  CHECK(climlink_module_forward(both, inputs.data(), 2, outputs.data(), 1) == CLIMLINK_ERROR_SHAPE);
  CHECK(climlink_module_forward(both, inputs.data(), 1, outputs.data(), 2) ==
        CLIMLINK_ERROR_BACKEND);
  CHECK(climlink_module_forward(both, inputs.data(), -1, outputs.data(), 2) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_module_forward(both, nullptr, 2, outputs.data(), 2) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_module_forward(both, inputs.data(), 2, nullptr, 2) == CLIMLINK_ERROR_ARGUMENT);
  for (climlink_tensor* tensor : t) climlink_tensor_delete(&tensor);
  climlink_module_delete(&both);
}

TEST_CASE("call makes its outputs, and takes numbers", "[torchscript]") {
  std::vector<float> x{1.0F, 2.0F};
  climlink_module* affine = loaded("affine.pt");
  climlink_tensor* input = row(x);
  climlink_tensor* output = nullptr;
  std::array<climlink_value, 3> arguments{value(input),
                                          climlink_value{CLIMLINK_VALUE_REAL, nullptr, 0.5, 0},
                                          climlink_value{CLIMLINK_VALUE_INTEGER, nullptr, 0.0, 3}};
  REQUIRE(climlink_module_call(affine, arguments.data(), 3, &output, 1) == CLIMLINK_OK);
  climlink_tensor_info info;
  REQUIRE(climlink_tensor_describe(output, &info) == CLIMLINK_OK);
  CHECK(static_cast<const float*>(info.data)[1] == 4.0F);
  const char* device = nullptr;
  CHECK(climlink_module_device(affine, &device) == CLIMLINK_OK);
  CHECK(std::string(device) == "cpu");
  arguments[1].kind = static_cast<climlink_value_kind>(9);
  climlink_tensor* none = input;
  CHECK(climlink_module_call(affine, arguments.data(), 3, &none, 1) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(none == nullptr);
  climlink_tensor_delete(&input);
  climlink_tensor_delete(&output);
  climlink_module_delete(&affine);
}

TEST_CASE("a copy converts only when told to", "[torchscript]") {
  std::vector<float> x{1.5F, 2.5F};
  climlink_tensor* source = row(x);
  climlink_tensor* target = nullptr;
  climlink_tensor* copy = nullptr;
  const std::int64_t shape[] = {2};
  REQUIRE(climlink_tensor_create(CLIMLINK_KIND_FLOAT64, 1, shape, CLIMLINK_FILL_ZEROS, "cpu",
                                 &target) == CLIMLINK_OK);
  climlink_tensor_info info;
  REQUIRE(climlink_tensor_describe(target, &info) == CLIMLINK_OK);
  CHECK(climlink_tensor_copy(source, target, 0, 0) == CLIMLINK_ERROR_SHAPE);
  CHECK(static_cast<const double*>(info.data)[1] == 0.0);
  CHECK(climlink_tensor_copy(source, target, 1, 0) == CLIMLINK_OK);
  CHECK(static_cast<const double*>(info.data)[1] == 2.5);
  REQUIRE(climlink_tensor_copy_of(source, "cpu", &copy) == CLIMLINK_OK);
  x[0] = 7.0F;
  REQUIRE(climlink_tensor_describe(copy, &info) == CLIMLINK_OK);
  CHECK(static_cast<const float*>(info.data)[0] == 1.5F);
  for (climlink_tensor* tensor : {source, target, copy}) climlink_tensor_delete(&tensor);
}

TEST_CASE("files that are no modules", "[torchscript]") {
  climlink_module* module = nullptr;
  CHECK(climlink_module_load(file("absent.pt").c_str(), "cpu", &module) == CLIMLINK_ERROR_FILE);
  CHECK(climlink_module_load(file("no_zip.pt").c_str(), "cpu", &module) == CLIMLINK_ERROR_PACKAGE);
  CHECK(climlink_module_load(file("twice.pt").c_str(), "cuda:63", &module) ==
        CLIMLINK_ERROR_DEVICE);
  CHECK(climlink_module_load(file("twice.pt").c_str(), nullptr, &module) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_module_load(nullptr, "cpu", &module) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(module == nullptr);
}

TEST_CASE("threads use, make and delete tensors at once", "[torchscript]") {
  climlink_module* twice = loaded("twice.pt");
  std::array<int, 4> failures{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < failures.size(); ++i) {
    threads.emplace_back([&failures, twice, i] {
      const std::int64_t shape[] = {5};
      const std::int64_t stride[] = {1};
      for (int step = 0; step < 200; ++step) {
        std::vector<float> x(5, static_cast<float>(i + 1)), y(5, 0.0F);
        climlink_tensor* input = nullptr;
        climlink_tensor* output = nullptr;
        climlink_tensor_wrap(x.data(), CLIMLINK_KIND_FLOAT32, 1, shape, stride, "cpu", &input);
        climlink_tensor_wrap(y.data(), CLIMLINK_KIND_FLOAT32, 1, shape, stride, "cpu", &output);
        const bool ran = forward(twice, input, output) == CLIMLINK_OK;
        if (!ran || y[4] != 2 * static_cast<float>(i + 1)) ++failures[i];
        climlink_tensor_delete(&input);
        climlink_tensor_delete(&output);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failures == std::array<int, 4>{});
  climlink_module_delete(&twice);
}

TEST_CASE("arithmetic on tensors and numbers", "[torchscript]") {
  std::vector<float> x = {1.0F, 2.0F, 4.0F}, y = {0.5F, 4.0F, -1.0F};
  climlink_tensor* left = row(x);
  climlink_tensor* right = row(y);
  const climlink_value a = value(left), b = value(right),
                       two = {CLIMLINK_VALUE_INTEGER, nullptr, 0.0, 2};
  const auto first_of = [](climlink_operation operation, const climlink_value& l,
                           const climlink_value& r) {
    climlink_tensor* result = nullptr;
    climlink_tensor_info info{};
    INFO(climlink_last_message());
    REQUIRE(climlink_tensor_combine(operation, &l, &r, &result) == CLIMLINK_OK);
    REQUIRE(climlink_tensor_describe(result, &info) == CLIMLINK_OK);
    CHECK(info.kind == CLIMLINK_KIND_FLOAT32);
    const std::vector<float> values(static_cast<const float*>(info.data),
                                    static_cast<const float*>(info.data) + info.shape[0]);
    climlink_tensor_delete(&result);
    return values;
  };
  CHECK(first_of(CLIMLINK_ADD, a, b) == std::vector<float>{1.5F, 6.0F, 3.0F});
  CHECK(first_of(CLIMLINK_SUBTRACT, two, a) == std::vector<float>{1.0F, 0.0F, -2.0F});
  CHECK(first_of(CLIMLINK_MULTIPLY, a, b) == std::vector<float>{0.5F, 8.0F, -4.0F});
  CHECK(first_of(CLIMLINK_DIVIDE, a, b) == std::vector<float>{2.0F, 0.5F, -4.0F});
  CHECK(first_of(CLIMLINK_POWER, a, two) == std::vector<float>{1.0F, 4.0F, 16.0F});
  climlink_tensor* result = left;
  CHECK(climlink_tensor_combine(CLIMLINK_POWER, &a, &b, &result) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_tensor_combine(CLIMLINK_ADD, &two, &two, &result) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_tensor_combine(CLIMLINK_ADD, &a, nullptr, &result) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_tensor_combine(static_cast<climlink_operation>(5), &a, &b, &result) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_tensor_reduce(static_cast<climlink_reduction>(2), left, right) ==
        CLIMLINK_ERROR_SHAPE);
  CHECK(result == nullptr);
  for (climlink_tensor* tensor : {left, right}) climlink_tensor_delete(&tensor);
}

TEST_CASE("the parameters of a module are given themselves", "[torchscript]") {
  climlink_module* twice = loaded("twice.pt");
  climlink_tensor* weights = nullptr;
  const char* name = nullptr;
  std::int32_t count = 0;
  climlink_tensor_info info{};
  REQUIRE(climlink_module_parameter_count(twice, &count) == CLIMLINK_OK);
  CHECK(count == 1);
  REQUIRE(climlink_module_parameter(twice, 0, &name, &weights) == CLIMLINK_OK);
  CHECK(name == std::string("linear.weight"));
  REQUIRE(climlink_tensor_describe(weights, &info) == CLIMLINK_OK);
  CHECK(info.requires_gradient == 1);
  CHECK(static_cast<const float*>(info.data)[6] == 2.0F);  // [1, 1] of twice the identity [5, 5]
  CHECK(climlink_tensor_require_gradient(weights, 0) == CLIMLINK_OK);
  REQUIRE(climlink_tensor_describe(weights, &info) == CLIMLINK_OK);
  CHECK(info.requires_gradient == 0);
  climlink_module_delete(&twice);  // the tensor outlives it
  CHECK(static_cast<const float*>(info.data)[6] == 2.0F);
  climlink_tensor_delete(&weights);
  climlink_module* affine = loaded("affine.pt");
  CHECK(climlink_module_parameter(affine, 0, &name, &weights) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(says("the module has 0 parameter(s)"));
  climlink_module_delete(&affine);
}

TEST_CASE("without libtorch there are no tensors and modules", "[stub]") {
  climlink_module* module = nullptr;
  CHECK(climlink_module_load(file("twice.pt").c_str(), "cpu", &module) == CLIMLINK_ERROR_BACKEND);
  CHECK(says("built without libtorch"));
  CHECK(module == nullptr);
  CHECK(climlink_module_delete(&module) == CLIMLINK_OK);
  climlink_tensor* tensor = nullptr;
  CHECK(climlink_tensor_create(CLIMLINK_KIND_INT8, 0, nullptr, CLIMLINK_FILL_ZEROS, "cpu",
                               &tensor) == CLIMLINK_ERROR_BACKEND);
  CHECK(climlink_tensor_delete(&tensor) == CLIMLINK_OK);
  tensor = reinterpret_cast<climlink_tensor*>(1);
  CHECK(climlink_tensor_combine(CLIMLINK_ADD, nullptr, nullptr, &tensor) == CLIMLINK_ERROR_BACKEND);
  CHECK(tensor == nullptr);
}
