#include "autograd/optim/average.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/optim/adam.h"
#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/heap_counter.h"

namespace attune {
namespace {

using Named = std::vector<std::pair<std::string, Variable>>;

Tensor random(const Shape& shape, uint64_t seed, DType dtype = DType::kFloat64) {
  return RandomStream(seed).normal(shape, 0, 1, dtype);
}

TEST_CASE("the average is the weighted mean of all values", "[optim]") {
  for (const double decay : {0.9, 0.0, 1.0}) {
    const Variable a(random({5}, 1), true);
    WeightAverage average(Named{{"a", a}}, decay);
    CHECK_THROWS_AS(average.swap(), ValueError);
    double expected = 0;
    double weights = 0;
    for (int i = 0; i < 7; ++i) {
      a.leaf()->value.copy_(random({5}, 10 + static_cast<uint64_t>(i)));
      average.update();
      expected = decay * expected + a.value().to_vector<double>()[3];
      weights = decay * weights + 1;
    }
    const std::vector<double> last = a.value().to_vector<double>();
    const std::byte* where = a.value().raw();
    const uint32_t version = a.value().version();
    {
      const UseAverage use(average);
      CHECK(std::abs(a.value().to_vector<double>()[3] - expected / weights) < 1e-14);
      CHECK(a.value().raw() == where);
      CHECK(a.value().version() != version);
      CHECK_THROWS_AS(average.update(), ValueError);
      CHECK_THROWS_AS(average.state(), ValueError);
    }
    CHECK(a.value().to_vector<double>() == last);
    CHECK(average.updates() == 7);
  }
  CHECK_THROWS_AS(WeightAverage(Named{{"a", Variable(random({5}, 1), true)}}, 1.5), ValueError);
}

TEST_CASE("the average goes on bitwise after a restart and beside an optimizer", "[optim]") {
  const auto train = [](Optimizer& optimizer, WeightAverage& average, const Variable& a, uint64_t from, uint64_t to) {
    for (uint64_t step = from; step < to; ++step) {
      a.backward(random(a.shape(), step, DType::kFloat32));
      optimizer.step();
      average.update();
    }
  };
  const Variable a(random({300, 100}, 1, DType::kFloat32), true);
  WeightAverage average(Named{{"a", a}}, 0.99);
  Adam optimizer(Named{{"a", a}});  // moves the values after the average saw them
  train(optimizer, average, a, 0, 4);

  const Variable b(a.value().clone(), true);
  WeightAverage restored(Named{{"a", b}}, 0.99);
  NamedTensors saved;
  for (const auto& [name, tensor] : average.state()) saved.emplace_back(name, tensor.clone());
  restored.load_state(saved);
  Adam other(Named{{"a", b}});
  NamedTensors moments;
  for (const auto& [name, tensor] : optimizer.state()) moments.emplace_back(name, tensor.clone());
  other.load_state(moments);
  train(optimizer, average, a, 4, 9);
  train(other, restored, b, 4, 9);
  CHECK(a.value().to_vector<float>() == b.value().to_vector<float>());
  CHECK(average.state()[1].second.to_vector<float>() == restored.state()[1].second.to_vector<float>());
  CHECK_THROWS_AS(restored.load_state({}), ShapeError);

  const uint64_t heap = testing::heap_allocations();
  average.update();
  average.swap();
  average.swap();
  CHECK(testing::heap_allocations() == heap);
}

TEST_CASE("the average of checkpoints is the mean of the last or of the best", "[optim]") {
  const Variable a(random({5}, 1), true);
  const auto set = [&](double value) { a.leaf()->value.copy_(Tensor::full({5}, value, DType::kFloat64)); };
  const auto mean = [&](CheckpointAverage& average) {
    const UseAverage use(average);
    CHECK_THROWS_AS(average.add(), ValueError);
    CHECK_THROWS_AS(average.state(), ValueError);
    return a.value().to_vector<double>()[4];
  };
  CHECK_THROWS_AS(CheckpointAverage(Named{{"a", a}}, {.count = 0}), ValueError);

  CheckpointAverage last(Named{{"a", a}}, {.count = 2});
  CHECK_THROWS_AS(last.swap(), ValueError);
  CheckpointAverage best(Named{{"a", a}}, {.count = 2, .keep = KeepCheckpoints::kBest});
  // Value, score, means afterwards; of equals the newer one stays, NaN is worse than any number.
  const struct {
    double value, score;
    double last, best;
  } rows[] = {{1, 0.5, 1, 1},    {2, NAN, 1.5, 1.5}, {4, 0.25, 3, 2.5},
              {8, 0.25, 6, 4.5}, {9, 0.2, 8.5, 4.5}, {16, 0.75, 12.5, 8.5}};
  for (const auto& row : rows) {
    INFO(row.value);
    set(row.value);
    CHECK(last.add(row.score));
    CHECK(best.add(row.score) == (row.value != 9));
    CHECK(mean(last) == row.last);
    CHECK(mean(best) == row.best);
    CHECK(a.value().to_vector<double>()[0] == row.value);
  }
  CHECK(best.size() == 2);

  CheckpointAverage restored(Named{{"a", a}}, {.count = 2, .keep = KeepCheckpoints::kBest});
  restored.load_state(best.state());
  CHECK(mean(restored) == 8.5);
  set(3);
  CHECK_FALSE(restored.add(0.4));
  CHECK(restored.add(0.6));
  CHECK(mean(restored) == 9.5);
  CHECK_THROWS_AS(restored.load_state({}), ShapeError);
  CHECK(restored.size() == 2);
  CHECK_THROWS_AS(CheckpointAverage(Named{{"a", a}}, {.count = 1}).load_state(best.state()), ShapeError);
}

TEST_CASE("among checkpoints of equal scores the loss decides, then the newer one", "[optim]") {
  const Variable a(random({1}, 1), true);
  const auto add = [&](CheckpointAverage& average, double value, double score, double loss) {
    a.leaf()->value.copy_(Tensor::full({1}, value, DType::kFloat64));
    return average.add(score, loss);
  };
  const auto mean = [&](CheckpointAverage& average) {
    const UseAverage use(average);
    return a.value().item();
  };
  const Named named{{"a", a}};
  const CheckpointAverageOptions best_two{.count = 2, .keep = KeepCheckpoints::kBest};
  CheckpointAverage best(named, best_two);
  // A run that begins at BLEU 0.00: the first evaluations do not stay for that.
  CHECK(add(best, 1, 0, 5));
  CHECK(add(best, 2, 0, 4));
  CHECK(add(best, 4, 0, 3));
  CHECK(mean(best) == 3);
  CHECK_FALSE(add(best, 8, 0, 6));
  CHECK(mean(best) == 3);
  CHECK(add(best, 16, 0, 4));  // as good as the worst of those kept
  CHECK(mean(best) == 10);
  CHECK_FALSE(add(best, 32, 0, NAN));
  CHECK(add(best, 64, 0.1, NAN));  // a better score counts for more than any loss
  CHECK(mean(best) == 34);
  CHECK_FALSE(add(best, 100, -1, 0));

  CheckpointAverage five(named, best_two);
  for (int i = 0; i < 5; ++i) CHECK(add(five, i, 0, 0));
  CHECK(mean(five) == 3.5);

  // Losses are part of the state; one that was saved without them is given up first.
  CheckpointAverage restored(named, best_two);
  restored.load_state(best.state());
  CHECK_FALSE(add(restored, 128, 0, 3.5));
  NamedTensors old;
  for (const auto& entry : best.state()) {
    if (entry.first != "losses") old.push_back(entry);
  }
  restored.load_state(old);
  CHECK(mean(restored) == 34);
  CHECK(add(restored, 128, 0, 1e9));
  CHECK(mean(restored) == 96);
}

}  // namespace
}  // namespace attune
