#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "framework/kernels/attention.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/gemm.h"
#include "framework/kernels/index.h"
#include "framework/kernels/linear.h"
#include "framework/kernels/loss.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/optim.h"
#include "framework/kernels/random.h"
#include "framework/kernels/reduce.h"
#include "framework/random.h"
#include "tests/benchmarks/sentiment_model.h"

namespace attune::bench {
namespace {

/// Parameters cut from flat buffers, as the optimizer lays them out.
struct Flat {
  Tensor value, gradient, m, v;
  int64_t used = 0;
};

struct Parameter {
  Tensor w, d;
};

Parameter cut(Flat& flat, const Shape& shape, double bound, RandomStream& random) {
  const int64_t begin = flat.used;
  flat.used += (shape.numel() + kFlatAlignment - 1) / kFlatAlignment * kFlatAlignment;
  Parameter p{flat.value.slice(0, begin, begin + shape.numel()).view(shape),
              flat.gradient.slice(0, begin, begin + shape.numel()).view(shape)};
  p.w.copy_(random.uniform(shape, -bound, bound));
  return p;
}

struct Linear {
  Parameter weight, bias;
  Linear(Flat& flat, int64_t in, int64_t out, RandomStream& random)
      : weight(cut(flat, {out, in}, 1 / std::sqrt(static_cast<double>(in)), random)),
        bias(cut(flat, {out}, 0, random)) {}

  void forward(const Tensor& x, Tensor& y, Activation activation, const DropoutSpec& dropout) const {
    Tensor none;
    kernels::linear(x, weight.w, bias.w, activation, dropout, none, y);
  }
  /// dx is written, or added to.
  void backward(const Tensor& dy, const Tensor& x, const Tensor& y, Tensor& dz, Tensor* dx, bool add,
                Activation activation, const DropoutSpec& dropout) {
    kernels::linear_backward(dy, Tensor(), y, activation, dropout, dz, bias.d, false);
    const Tensor& g = dz.defined() ? dz : dy;
    if (dx != nullptr) kernels::matmul(g, weight.w, {.accumulate = add}, *dx);
    kernels::matmul(g, x, {.transpose_a = true, .exact_zeros = true}, weight.d);
  }
};

struct Norm {
  Parameter gain, shift;
  Tensor sum, y, stats;
  DropoutSpec dropout;
  Norm(Flat& flat, int64_t rows, int64_t dim, RandomStream& random)
      : gain(cut(flat, {dim}, 0, random)),
        shift(cut(flat, {dim}, 0, random)),
        sum(Tensor::empty({rows, dim})),
        y(Tensor::empty({rows, dim})),
        stats(Tensor::empty({rows, 3})) {
    gain.w.fill_(1);
  }
  void forward(const Tensor& x, const Tensor& branch) {
    kernels::add_layer_norm(x, branch, dropout, gain.w, shift.w, 1e-5, sum, y, stats);
  }
  /// dx: of the first summand; returns the gradient of the branch.
  const Tensor& backward(const Tensor& dy, Tensor& dx, Tensor& dbranch) {
    Tensor none;
    Tensor& to = dropout.probability > 0 ? dbranch : none;
    kernels::add_layer_norm_backward(dy, Tensor(), sum, stats, gain.w, dropout, dx, to, gain.d, false, shift.d, false);
    return dropout.probability > 0 ? dbranch : dx;
  }
};

struct Block {
  Linear qkv, out, up, down;
  Norm norm1, norm2;
  Tensor z, context, attended, hidden, branch, stats, weights;
  AttentionSpec attention;
  DropoutSpec hidden_dropout;

  Block(Flat& flat, const SentimentShape& s, RandomStream& random)
      : qkv(flat, s.dim, 3 * s.dim, random),
        out(flat, s.dim, s.dim, random),
        up(flat, s.dim, s.ffn, random),
        down(flat, s.ffn, s.dim, random),
        norm1(flat, s.tokens(), s.dim, random),
        norm2(flat, s.tokens(), s.dim, random),
        z(Tensor::empty({s.batch, s.length, 3, s.heads, s.dim / s.heads})),
        context(Tensor::empty({s.batch, s.length, s.heads, s.dim / s.heads})),
        attended(Tensor::empty({s.tokens(), s.dim})),
        hidden(Tensor::empty({s.tokens(), s.ffn})),
        branch(Tensor::empty({s.tokens(), s.dim})),
        stats(Tensor::empty({2, s.batch, s.heads, s.length})),
        weights(Tensor::empty({s.batch, s.heads, s.length, s.length})) {}
};

}  // namespace

struct StraightStep::Parts {
  SentimentShape s;
  double p;
  SentimentBatch batch;
  RandomStream random{1};
  Flat flat;
  Parameter embed, positions;
  std::vector<Block> blocks;
  std::unique_ptr<Linear> head;
  DropoutSpec input_dropout;
  int64_t step = 0;
  Tensor x0, x, pooled, logits, losses, stats;
  Tensor dlogits, dpooled, g, h, dbranch, dhidden, dattended, dcontext, dz, dpositions;

  Parts(const SentimentShape& shape, double dropout) : s(shape), p(dropout), batch(sentiment_batch(shape)) {
    int64_t size = s.vocabulary * s.dim + s.length * s.dim + 2 * s.dim + 1024;
    size += s.blocks * (4 * s.dim * s.dim + 2 * s.dim * s.ffn + 16 * s.dim + s.ffn + 1024);
    for (Tensor* t : {&flat.value, &flat.gradient, &flat.m, &flat.v}) *t = Tensor::zeros({size});
    embed = cut(flat, {s.vocabulary, s.dim}, 0.1, random);
    positions = cut(flat, {s.length, s.dim}, 0.02, random);
    for (int64_t i = 0; i < s.blocks; ++i) blocks.emplace_back(flat, s, random);
    head = std::make_unique<Linear>(flat, s.dim, 2, random);
    const auto rows = [&](int64_t width) { return Tensor::empty({s.tokens(), width}); };
    x0 = rows(s.dim), x = rows(s.dim), g = rows(s.dim), h = rows(s.dim), dbranch = rows(s.dim);
    dattended = rows(s.dim), dhidden = rows(s.ffn);
    dcontext = Tensor::empty(blocks[0].context.shape());
    dz = Tensor::empty(blocks[0].z.shape());
    pooled = Tensor::empty({s.batch, s.dim}), dpooled = Tensor::empty_like(pooled);
    logits = Tensor::empty({s.batch, 2}), dlogits = Tensor::empty_like(logits);
    losses = Tensor::empty({s.batch}), stats = Tensor::empty({s.batch, 2});
  }

  DropoutSpec draw(int64_t count) { return p > 0 ? DropoutSpec{p, random.reserve(count)} : DropoutSpec(); }

  double forward() {
    const int64_t rows = s.tokens();
    const double scale = std::sqrt(static_cast<double>(s.dim));
    Tensor out = x0.view({1, rows, s.dim});
    kernels::take_rows(embed.w.unsqueeze(0), batch.tokens.view({rows}), scale, out);
    Tensor cube = x.view({s.batch, s.length, s.dim});
    kernels::add(x0.view(cube.shape()), positions.w.expand(cube.shape()), cube);
    input_dropout = draw(x.numel());
    if (p > 0) kernels::dropout(x, input_dropout.state, p, x);
    const Tensor* in = &x;
    for (Block& b : blocks) {
      Tensor z = b.z.view({rows, 3 * s.dim});
      b.qkv.forward(*in, z, Activation::kNone, {});
      b.attention.mask.lengths = batch.lengths;
      b.attention.scale = 1 / std::sqrt(static_cast<double>(s.dim / s.heads));
      b.attention.dropout = draw(s.batch * s.heads * s.length * s.length);
      kernels::attention(b.z.select(2, 0), b.z.select(2, 1), b.z.select(2, 2), Tensor(), b.attention, b.context,
                         b.stats, b.weights);
      b.out.forward(b.context.view({rows, s.dim}), b.attended, Activation::kNone, {});
      b.norm1.dropout = draw(x.numel());
      b.norm1.forward(*in, b.attended);
      b.hidden_dropout = draw(b.hidden.numel());
      b.up.forward(b.norm1.y, b.hidden, Activation::kRelu, b.hidden_dropout);
      b.down.forward(b.hidden, b.branch, Activation::kNone, {});
      b.norm2.dropout = draw(x.numel());
      b.norm2.forward(b.norm1.y, b.branch);
      in = &b.norm2.y;
    }
    kernels::masked_mean(in->view({s.batch, s.length, s.dim}), batch.lengths, pooled);
    head->forward(pooled, logits, Activation::kNone, {});
    kernels::cross_entropy(logits, batch.labels, Tensor(), {}, losses, stats);
    const float* loss = losses.data<float>();
    return std::accumulate(loss, loss + s.batch, 0.0) / static_cast<double>(s.batch);
  }

  void backward() {
    const int64_t rows = s.tokens();
    Tensor none;
    kernels::cross_entropy_backward(logits, batch.labels, Tensor(), {}, stats, Tensor(), Tensor(),
                                    1.0 / static_cast<double>(s.batch), dlogits);
    head->backward(dlogits, pooled, logits, none, &dpooled, false, Activation::kNone, {});
    Tensor cube = g.view({s.batch, s.length, s.dim});
    kernels::masked_mean_backward(dpooled, batch.lengths, cube);
    for (size_t i = blocks.size(); i-- > 0;) {
      Block& b = blocks[i];
      const Tensor& in = i == 0 ? x : blocks[i - 1].norm2.y;
      const Tensor& branch = b.norm2.backward(g, h, dbranch);
      b.down.backward(branch, b.hidden, b.branch, none, &dhidden, false, Activation::kNone, {});
      b.up.backward(dhidden, b.norm1.y, b.hidden, dhidden, &h, true, Activation::kRelu, b.hidden_dropout);
      const Tensor& attended = b.norm1.backward(h, g, dbranch);
      Tensor dctx = dcontext.view({rows, s.dim});
      const Tensor context = b.context.view({rows, s.dim});
      b.out.backward(attended, context, b.attended, none, &dctx, false, Activation::kNone, {});
      Tensor dq = dz.select(2, 0), dk = dz.select(2, 1), dv = dz.select(2, 2);
      kernels::attention_backward(dcontext, b.z.select(2, 0), b.z.select(2, 1), b.z.select(2, 2), Tensor(), b.attention,
                                  b.context, b.stats, b.weights, dq, dk, dv, none);
      b.qkv.backward(dz.view({rows, 3 * s.dim}), in, b.z, none, &g, true, Activation::kNone, {});
    }
    if (p > 0) kernels::dropout(g, input_dropout.state, p, g);
    kernels::sum_to(cube, positions.d);
    Tensor dembed = embed.d.unsqueeze(0);
    kernels::add_rows(g.view({1, rows, s.dim}), batch.tokens.view({rows}), std::sqrt(static_cast<double>(s.dim)), -1,
                      dembed);
  }

  void optimize() {
    ++step;
    // The embedding's gradient is added to, so it alone is zeroed, in the same pass.
    const int64_t table = s.vocabulary * s.dim;
    const FlatRange ranges[] = {{0, table, step, 1e-4, 0, true}, {table, flat.used, step, 1e-4, 0, false}};
    kernels::adam_step(flat.value, flat.gradient, flat.m, flat.v, ranges, {}, {});
  }
};

StraightStep::StraightStep(const SentimentShape& shape, double dropout) : parts_(new Parts(shape, dropout)) {}
StraightStep::~StraightStep() { delete parts_; }

double StraightStep::operator()() {
  const double loss = parts_->forward();
  parts_->backward();
  parts_->optimize();
  return loss;
}

}  // namespace attune::bench
