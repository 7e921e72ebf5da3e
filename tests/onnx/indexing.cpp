// By index: gather, scatter and what is made of them.

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

Ways one_hot_of(const Case& c) {
  const auto classes = static_cast<int64_t>(c.in(1).item());
  Tensor ids = c.in(0).to(DType::kInt64);
  ids = where(ids < 0, ids + classes, ids);
  // Ids outside are an error of one_hot(), and no class at all in ONNX.
  const bool valid = all((ids >= 0) & (ids < classes)).item() != 0;
  const Tensor hot = valid ? one_hot(ids, classes, DType::kBool) : ids.unsqueeze(-1) == arange(classes);
  const Tensor y = where(hot, c.in(2).select(0, 1), c.in(2).select(0, 0));
  const int axis = y.shape().axis(static_cast<int>(c.integer("axis", -1)));
  std::vector<int> axes;
  for (int i = 0; i < y.rank(); ++i) axes.push_back(i < axis ? i : i == axis ? y.rank() - 1 : i - 1);
  return {{y.permute(axes)}};
}

Ways reversed(const Case& c) {
  const int time = static_cast<int>(c.integer("time_axis", 0));
  const Tensor x = c.in(0).transpose(time, 0);  // [S, B]
  const Tensor steps = arange(x.dim(0)).unsqueeze(1);
  const Tensor lengths = c.in(1).unsqueeze(0);
  const Tensor indices = where(steps < lengths, lengths - 1 - steps, steps.expand({x.dim(0), x.dim(1)}));
  return {{gather(x, 0, indices).transpose(time, 0)}, {transpose(gather(Variable(x), 0, indices), time, 0).value()}};
}

Ways selected(const Case& c) {
  const int axis = c.in(0).shape().axis(static_cast<int>(c.integer("axis", 0)));
  Shape shape = c.in(0).shape();
  shape.erase(axis);
  for (int i = 0; i < c.in(1).rank(); ++i) shape.insert(axis + i, c.in(1).dim(i));
  const Tensor rows = flatten(c.in(1));
  return {{index_select(c.in(0), axis, rows).reshape(shape)},
          {reshape(index_select(c.var(0), axis, rows), shape).value()}};
}

Ways gathered(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", 0));
  return {{gather(c.in(0), axis, c.in(1))}, {gather(c.var(0), axis, c.in(1)).value()}};
}

/// x as [rows, rest], and which rows indices [..., depth] name, behind `batch` axes that x and they share.
struct Rows {
  Tensor x;
  Tensor indices;  // [n]
  Shape rest;
};

Rows rows_of(const Tensor& x, const Tensor& indices, int batch) {
  const auto depth = static_cast<int>(indices.dim(-1));
  int64_t samples = 1;
  for (int i = 0; i < batch; ++i) samples *= x.dim(i);
  std::vector<int64_t> strides(static_cast<size_t>(depth));
  int64_t inner = 1;
  for (int i = depth - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = inner;
    inner *= x.dim(batch + i);
  }
  Rows rows;
  int64_t width = 1;
  for (int i = batch + depth; i < x.rank(); ++i) {
    rows.rest.push_back(x.dim(i));
    width *= x.dim(i);
  }
  const Tensor flat = sum(indices * Tensor::from(strides, {depth}), -1);
  const Tensor by_sample = flat.reshape({samples, flat.numel() / samples});
  rows.indices = flatten(by_sample + arange(samples).unsqueeze(1) * inner);
  rows.x = x.reshape({samples * inner, width});
  return rows;
}

Ways gathered_nd(const Case& c) {
  const Rows rows = rows_of(c.in(0), c.in(1), static_cast<int>(c.integer("batch_dims", 0)));
  Shape shape = c.in(1).shape();
  shape.erase(shape.rank() - 1);
  for (const int64_t extent : rows.rest) shape.push_back(extent);
  return {{index_select(rows.x, 0, rows.indices).reshape(shape)}};
}

Tensor scattered(const Tensor& x, int axis, const Tensor& indices, const Tensor& source, const std::string& reduction) {
  if (reduction == "none") return scatter(x, axis, indices, source);
  if (reduction == "add") return scatter_add(x, axis, indices, source);
  const Tensor counts = scatter_add(Tensor::zeros_like(x), axis, indices, ones_like(source));
  if (max(counts).item() > 1) throw NotExpressible{"scatter with mul, max or min and repeated indices"};
  const Tensor old = gather(x, axis, indices);
  if (reduction == "mul") return scatter(x, axis, indices, old * source);
  return scatter(x, axis, indices, reduction == "max" ? maximum(old, source) : minimum(old, source));
}

Ways scattered_elements(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", 0));
  const std::string reduction = c.text("reduction", "none");
  Ways ways{{scattered(c.in(0), axis, c.in(1), c.in(2), reduction)}};
  if (reduction == "none") ways.push_back({scatter(c.var(0), axis, c.in(1), c.var(2)).value()});
  if (reduction == "add") ways.push_back({scatter_add(c.var(0), axis, c.in(1), c.var(2)).value()});
  return ways;
}

Ways scattered_nd(const Case& c) {
  const Rows rows = rows_of(c.in(0), c.in(1), 0);
  const Shape shape{rows.indices.dim(0), rows.x.dim(1)};
  const Tensor indices = rows.indices.unsqueeze(1).expand(shape).contiguous();
  const Tensor y = scattered(rows.x, 0, indices, c.in(2).reshape(shape), c.text("reduction", "none"));
  return {{y.reshape(c.in(0).shape())}};
}

Ways cache_written(const Case& c) {
  const Tensor &cache = c.inputs[0], &update = c.inputs[1];
  const int axis = cache.shape().axis(static_cast<int>(c.integer("axis", -2)));
  Shape first;
  for (int i = 0; i < cache.rank(); ++i) first.push_back(1);
  Shape steps = first;
  first[0] = cache.dim(0);
  steps[axis] = update.dim(axis);
  Tensor indices = c.in(2).reshape(first) + arange(update.dim(axis)).reshape(steps);
  if (c.text("mode", "linear") == "circular") indices = remainder(indices, cache.dim(axis));
  return {{scatter(cache, axis, indices.expand(update.shape()).contiguous(), update)}};
}

}  // namespace

void add_indexing(Operators& ops) {
  ops["OneHot"] = one_hot_of;
  ops["ReverseSequence"] = reversed;
  ops["Gather"] = selected;
  ops["GatherElements"] = gathered;
  ops["GatherND"] = gathered_nd;
  ops["ScatterElements"] = scattered_elements;
  ops["ScatterND"] = scattered_nd;
  ops["TensorScatter"] = cache_written;
}

}  // namespace attune::onnx
