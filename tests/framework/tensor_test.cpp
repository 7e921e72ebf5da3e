#include "framework/tensor.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::error_text;

/// 0, 1, 2, ... in row-major order.
Tensor counted(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, shape);
}

std::vector<float> list(const Tensor& x) { return x.to_vector<float>(); }

bool says(const std::string& text, std::initializer_list<const char*> parts) {
  INFO(text);
  bool all = true;
  for (const char* part : parts) {
    INFO("expected: " << part);
    const bool found = text.find(part) != std::string::npos;
    CHECK(found);
    all = all && found;
  }
  return all;
}

TEST_CASE("tensors hold what they were made of", "[tensor]") {
  const Tensor x = counted({2, 3});
  CHECK(x.shape() == Shape{2, 3});
  CHECK(x.strides() == Shape{3, 1});
  CHECK(x.dtype() == DType::kFloat32);
  CHECK(x.numel() == 6);
  CHECK(x.is_contiguous());
  CHECK(list(x) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(x.to_string() == "float32 [2, 3] on cpu");
  CHECK(list(Tensor::full({3}, 2.5)) == std::vector<float>(3, 2.5f));
  CHECK(list(Tensor::zeros({2, 2})) == std::vector<float>(4, 0.0f));
  CHECK(Tensor::full({}, 7).item() == 7);
  CHECK(Tensor::full({2}, -3, DType::kInt64).to_vector<int64_t>() == std::vector<int64_t>{-3, -3});
  CHECK(Tensor::empty({0, 5}).numel() == 0);
  CHECK(list(Tensor::zeros({0, 5})).empty());
  CHECK_FALSE(Tensor().defined());
  CHECK(Tensor().to_string() == "undefined tensor");
}

TEST_CASE("views share the elements", "[tensor]") {
  const Tensor x = counted({2, 3, 4});
  const Tensor t = x.transpose(0, -1);
  CHECK(t.shape() == Shape{4, 3, 2});
  CHECK_FALSE(t.is_contiguous());
  CHECK(t.storage().get() == x.storage().get());
  CHECK(list(t.select(0, 1).select(0, 2)) == std::vector<float>{9, 21});
  CHECK(list(x.permute({1, 2, 0}).select(0, 1).select(0, 3)) == std::vector<float>{7, 19});
  const Tensor s = x.slice(1, 1, 3);
  CHECK(s.shape() == Shape{2, 2, 4});
  CHECK(list(s.slice(2, 3, 4)) == std::vector<float>{7, 11, 19, 23});
  CHECK(x.slice(0, 1, 1).numel() == 0);
  CHECK(list(x.select(-1, 0)) == std::vector<float>{0, 4, 8, 12, 16, 20});
  const Tensor e = x.slice(1, 0, 1).expand({5, 2, 3, 4});
  CHECK(e.strides() == Shape{0, 12, 0, 1});
  CHECK(list(e.select(0, 4).select(1, 2)) == list(x.select(1, 0)));
  CHECK(x.unsqueeze(1).shape() == Shape{2, 1, 3, 4});
  CHECK(x.unsqueeze(-1).shape() == Shape{2, 3, 4, 1});
  CHECK(list(x.unsqueeze(3).squeeze(-1)) == list(x));
  CHECK(list(x.as_strided({2, 2}, {1, 12}, 5)) == std::vector<float>{5, 17, 6, 18});
}

TEST_CASE("a view follows the strides where it can", "[tensor]") {
  const Tensor x = counted({2, 3, 4});
  CHECK(x.view({6, 4}).storage().get() == x.storage().get());
  CHECK(list(x.slice(1, 0, 2).view({2, 8})) ==
        std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19});
  CHECK(x.transpose(0, 1).view({3, 2, 2, 2}).stride(0) == 4);
  CHECK(list(x.transpose(0, 1).view({3, 1, 2, 4, 1})) == list(x.transpose(0, 1)));
  CHECK(x.select(2, 0).view({6}).stride(0) == 4);
  CHECK(counted({1, 1}).view({}).rank() == 0);
  CHECK(Tensor::zeros({0, 4}).view({2, 0, 7}).shape() == Shape{2, 0, 7});
  says(error_text<ShapeError>([&] { x.transpose(0, 1).view({6, 4}); }), {"[3, 2, 4]", "[6, 4]", "reshape"});
  says(error_text<ShapeError>([&] { x.view({5, 5}); }), {"[2, 3, 4]", "[5, 5]"});
  const Tensor copy = x.transpose(0, 1).reshape({6, 4});
  CHECK(copy.storage().get() != x.storage().get());
  CHECK(list(copy) == list(x.transpose(0, 1)));
}

TEST_CASE("wrong axes and ranges are refused with both values", "[tensor][errors]") {
  const Tensor x = counted({2, 3});
  says(error_text<ShapeError>([&] { x.slice(1, 2, 5); }), {"2 ... 5", "axis 1", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.slice(1, -4, 2); }), {"-4 ... 2"});
  says(error_text<ShapeError>([&] { x.select(0, 2); }), {"index 2", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.transpose(0, 2); }), {"axis 2", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.permute({0, 0}); }), {"0, 0", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.permute({0}); }), {"1 axes", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.expand({2, 4}); }), {"[2, 3]", "[2, 4]"});
  says(error_text<ShapeError>([&] { x.squeeze(0); }), {"axis 0", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.unsqueeze(4); }), {"axis 4", "[2, 3]"});
  says(error_text<ShapeError>([&] { x.item(); }), {"[2, 3]", "6"});
  says(error_text<ShapeError>([] { Tensor::from(std::vector<float>{1, 2}, {3}); }), {"2 values", "[3]"});
  says(error_text<ShapeError>([] { Tensor::zeros({2, -1}); }), {"-1"});
  says(error_text<ShapeError>([] { Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}); }), {"9", "8"});
  says(error_text<DTypeError>([&] { x.data<double>(); }), {"float64", "float32"});
  says(error_text<DTypeError>([&] { x.to_vector<int64_t>(); }), {"int64", "float32"});
  says(error_text<DeviceError>([&] { x.to(Device::cuda(99)); }), {"cuda"});
  says(error_text<DeviceError>([] { Tensor::zeros({2}, DType::kFloat32, Device::cuda(98)); }), {"cuda:98"});
}

TEST_CASE("element types convert", "[tensor]") {
  const Tensor x = Tensor::from(std::vector<double>{-1.75, 0, 2.5, 1e30}, {4});
  CHECK(list(x.to(DType::kFloat32)) == std::vector<float>{-1.75f, 0, 2.5f, 1e30f});
  CHECK(x.slice(0, 0, 3).to(DType::kInt64).to_vector<int64_t>() == std::vector<int64_t>{-1, 0, 2});
  const Tensor flags = x.to(DType::kBool);
  CHECK(flags.to(DType::kInt64).to_vector<int64_t>() == std::vector<int64_t>{1, 0, 1, 1});
  CHECK(list(x.to(DType::kBFloat16).to(DType::kFloat32).slice(0, 0, 3)) == std::vector<float>{-1.75f, 0, 2.5f});
  CHECK(x.to(DType::kFloat64).storage().get() == x.storage().get());
}

TEST_CASE("bfloat16 rounds to nearest even and keeps what is not a number", "[tensor]") {
  const auto round = [](float value) { return static_cast<float>(bfloat16(value)); };
  CHECK(round(1.0f) == 1.0f);
  CHECK(round(1.0f + 1.0f / 256) == 1.0f);  // halfway: to even
  CHECK(round(1.0f + 3.0f / 256) == 1.0f + 4.0f / 256);
  CHECK(round(1.0f + 1.1f / 256) == 1.0f + 2.0f / 256);
  CHECK(round(3.4e38f) == std::numeric_limits<float>::infinity());
  CHECK(round(-std::numeric_limits<float>::infinity()) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(round(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(round(std::bit_cast<float>(0x7f800001u))));
  CHECK(std::signbit(round(-0.0f)));
}

TEST_CASE("copies convert, broadcast and go through strides", "[tensor]") {
  Tensor x = Tensor::zeros({3, 4});
  x.slice(1, 1, 3).copy_(Tensor::from(std::vector<int64_t>{5, 6}, {2}));
  CHECK(list(x) == std::vector<float>{0, 5, 6, 0, 0, 5, 6, 0, 0, 5, 6, 0});
  x.transpose(0, 1).select(0, 0).fill_(9);
  CHECK(list(x.select(1, 0)) == std::vector<float>(3, 9.0f));
  CHECK(list(counted({3, 4}).transpose(0, 1).clone()) == std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  CHECK(counted({3, 4}).transpose(0, 1).contiguous().is_contiguous());
  CHECK(x.contiguous().storage().get() == x.storage().get());
  says(error_text<ShapeError>([&] { x.copy_(counted({2, 4})); }), {"[2, 4]", "[3, 4]"});
  Tensor empty = Tensor::zeros({0, 3});
  empty.copy_(counted({1, 3}));
  empty.fill_(1);
}

TEST_CASE("large copies through strides are whole", "[tensor]") {
  for (const Shape& shape : {Shape{300, 400}, Shape{7, 129, 131}, Shape{100000}}) {
    const Tensor x = counted(shape);
    std::vector<int> axes(static_cast<size_t>(x.rank()));
    std::iota(axes.rbegin(), axes.rend(), 0);
    const Tensor back = x.permute(axes).clone().permute(axes);
    CHECK(list(back) == list(x));
    const Tensor inside = x.slice(0, 1, x.dim(0) - 1).clone();
    const int64_t row = x.numel() / x.dim(0);
    CHECK(inside.data<float>()[0] == static_cast<float>(row));
    CHECK(inside.data<float>()[inside.numel() - 1] == static_cast<float>(x.numel() - row - 1));
  }
}

TEST_CASE("changes in place raise the version through every view", "[tensor]") {
  Tensor x = Tensor::zeros({2, 2});
  Tensor view = x.select(0, 1);
  const uint32_t before = x.version();
  view.fill_(1);
  const uint32_t filled = x.version();
  CHECK(filled > before);
  const Tensor apart = x.clone();
  const uint32_t cloned = apart.version();
  CHECK(x.version() == filled);
  x.copy_(view);
  CHECK(view.version() > filled);
  CHECK(apart.version() == cloned);
}

TEST_CASE("broadcasting aligns axes at the end", "[tensor]") {
  CHECK(broadcast_shapes({2, 1, 3}, {4, 1}, "test") == Shape{2, 4, 3});
  CHECK(broadcast_shapes({}, {2}, "test") == Shape{2});
  CHECK(broadcast_shapes({0, 1}, {1, 5}, "test") == Shape{0, 5});
  says(error_text<ShapeError>([] {
         broadcast_shapes({2, 3}, {2, 4}, "test");
       }),
       {"test", "[2, 3]", "[2, 4]", "axis -1"});
}

TEST_CASE("an uncountable number of elements is refused", "[tensor][errors]") {
  const int64_t huge = int64_t{1} << 40;
  CHECK_THROWS_AS(Tensor::empty({huge, huge}), Error);
  CHECK_THROWS_AS(Tensor::empty({huge, 64}), Error);
}

TEST_CASE("undefined tensors are errors that say what was tried", "[tensor][errors]") {
  const Tensor none;
  Tensor target = Tensor::zeros({2});
  const std::vector<std::pair<const char*, std::function<void()>>> tries{
      {"item", [&] { (void)none.item(); }},
      {"to_vector", [&] { (void)none.to_vector<float>(); }},
      {"to_vector", [&] { (void)none.to_vector<int64_t>(); }},
      {"clone", [&] { (void)none.clone(); }},
      {"to", [&] { (void)none.to(DType::kFloat64); }},
      {"to", [&] { (void)none.to(Device::cpu()); }},
      {"view", [&] { (void)none.view({1}); }},
      {"view", [&] { (void)none.reshape({1}); }},
      {"expand", [&] { (void)none.expand({2}); }},
      {"permute", [&] { (void)none.permute({}); }},
      {"unsqueeze", [&] { (void)none.unsqueeze(0); }},
      {"as_strided", [&] { (void)none.as_strided({1}, {1}); }},
      {"fill_", [&] { Tensor().fill_(1); }},
      {"fill_", [&] { Tensor().zero_(); }},
      {"copy_", [&] { Tensor().copy_(target); }},
      {"copy_", [&] { target.copy_(none); }},
  };
  for (const auto& [method, attempt] : tries) {
    INFO(method);
    const std::string text = error_text<ValueError>(attempt);
    CHECK(says(text, {method, "undefined"}));
  }
  CHECK_THROWS_AS(none.transpose(0, 0), ShapeError);
  CHECK_THROWS_AS(none.slice(0, 0, 1), ShapeError);
  CHECK_THROWS_AS(none.select(0, 0), ShapeError);
  CHECK_THROWS_AS(none.squeeze(0), ShapeError);
  CHECK(none.data<float>() == nullptr);
  CHECK_FALSE(none.contiguous().defined());
  CHECK(none.to_string() == "undefined tensor");
}

TEST_CASE("shapes of more elements than can be counted are errors", "[tensor][errors]") {
  const int64_t large = int64_t{1} << 40;
  const Tensor empty = Tensor::empty({0});
  CHECK(says(error_text<ShapeError>([&] { (void)empty.view({int64_t{1} << 62, 4}); }), {"4611686018427387904, 4"}));
  CHECK(says(error_text<ShapeError>([&] { (void)Tensor::zeros({1}).expand({large, large}); }), {"1099511627776"}));
  CHECK_THROWS_AS((Shape{large, large}.numel()), ShapeError);
  CHECK(Shape{large, large, 0}.numel() == 0);
  CHECK(Shape{int64_t{1} << 62}.numel() == int64_t{1} << 62);
  CHECK(empty.view({large, 0, 5}).numel() == 0);
}

TEST_CASE("int32 and uint8 hold what files and pictures have", "[tensor]") {
  const Tensor pixels = Tensor::from(std::vector<int>{0, 128, 255}, {3}, DType::kUInt8);
  CHECK(pixels.to_string() == "uint8 [3] on cpu");
  CHECK(std::as_const(pixels).data<uint8_t>()[2] == 255);
  CHECK(pixels.to_vector<uint8_t>() == std::vector<uint8_t>{0, 128, 255});
  CHECK(pixels.to_vector<int64_t>() == std::vector<int64_t>{0, 128, 255});
  CHECK(list(pixels.to(DType::kFloat32)) == std::vector<float>{0, 128, 255});
  const Tensor narrow = Tensor::from(std::vector<int64_t>{-7, 1 << 30}, {2}, DType::kInt32);
  CHECK(std::as_const(narrow).data<int32_t>()[0] == -7);
  CHECK(narrow.to(DType::kInt64).to_vector<int64_t>() == std::vector<int64_t>{-7, 1 << 30});
  CHECK(Tensor::full({2}, 3, DType::kInt32).to_vector<int>() == std::vector<int>{3, 3});
  CHECK(list(Tensor::from(std::vector<double>{1.5}, {1}, DType::kFloat32)) == std::vector<float>{1.5});
  CHECK(parse_dtype("uint8") == DType::kUInt8);
  CHECK(parse_dtype("int32") == DType::kInt32);
  CHECK(says(error_text<ValueError>([] {
               (void)Tensor::from(std::vector<int>{1, 256}, {2}, DType::kUInt8);
             }),
             {"element 1", "uint8"}));
  CHECK(says(error_text<DTypeError>([&] { (void)pixels.data<int64_t>(); }), {"int64", "uint8"}));
}

TEST_CASE("slices have steps, and indices count from the end", "[tensor]") {
  const Tensor x = counted({7});
  CHECK(list(x.slice(0, 1, 6, 2)) == std::vector<float>{1, 3, 5});
  CHECK(list(x.slice(0, 0, 7, 3)) == std::vector<float>{0, 3, 6});
  CHECK(list(x.slice(0, -3, -1)) == std::vector<float>{4, 5});
  CHECK(list(x.slice(0, 2, 7, 100)) == std::vector<float>{2});
  CHECK(x.slice(0, 3, 3, 2).numel() == 0);
  CHECK(x.select(0, -1).item() == 6);
  CHECK(x.slice(0, 1, 6, 2).storage().get() == x.storage().get());
  CHECK(says(error_text<ShapeError>([&] { (void)x.slice(0, -8, 2); }), {"-8 ... 2", "[7]"}));
  CHECK(says(error_text<ShapeError>([&] { (void)x.slice(0, 0, 2, 0); }), {"step 0", "flip"}));
  CHECK(says(error_text<ShapeError>([&] { (void)x.select(0, -8); }), {"index -8", "[7]"}));
}

TEST_CASE("integers of other widths become int64 and come back", "[tensor]") {
  const Tensor x = Tensor::from(std::vector<int>{1, -2, 3}, {3});
  CHECK(x.dtype() == DType::kInt64);
  CHECK(x.to_vector<int64_t>() == std::vector<int64_t>{1, -2, 3});
  CHECK(x.to_vector<int>() == std::vector<int>{1, -2, 3});
  CHECK(Tensor::from(std::vector<uint8_t>{0, 255}, {2}).to_vector<uint8_t>() == std::vector<uint8_t>{0, 255});
  CHECK(Tensor::from(std::vector<size_t>{7}, {1}).item() == 7);
  CHECK(says(error_text<ValueError>([&] { (void)x.to_vector<uint8_t>(); }), {"element 1"}));
  CHECK(says(error_text<ValueError>([] {
               (void)Tensor::from(std::vector<uint64_t>{1, ~uint64_t{0}}, {2});
             }),
             {"element 1", "int64"}));
  CHECK_THROWS_AS(Tensor::from(std::vector<float>{1}, {1}).to_vector<int>(), DTypeError);
  const std::vector<bool> flags{true, false, true};
  CHECK(Tensor::from(flags, {3}).dtype() == DType::kBool);
  CHECK(Tensor::from(flags, {3}).to_vector<bool>() == flags);
}

TEST_CASE("a pointer that may be written through raises the version, one that may not does not", "[tensor]") {
  Tensor x = counted({2, 3});
  const uint32_t made = x.version();
  (void)std::as_const(x).data<float>();
  (void)std::as_const(x).raw();
  (void)x.to_vector<float>();
  CHECK(x.version() == made);
  x.data<float>()[0] = 5;
  CHECK(x.version() != made);
  const uint32_t written = x.version();
  (void)x.select(0, 1).raw();  // of a temporary, hence not const
  CHECK(x.version() != written);
}

}  // namespace
}  // namespace attune
