#include "framework/kernels/cpu/recurrent_gates.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/recurrent_gates.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

template <class T>
void gru_forward(const GateStep<T>& s) {
  const hn::ScalableTag<T> d;
  const int64_t n = s.width;
  for (int64_t i = s.first; i < s.rows; i += s.every) {
    T* fresh = s.gates + i * 4 * n;
    T* reset = fresh + n;
    T* update = fresh + 2 * n;
    const T* product = fresh + 3 * n;
    const T* before = s.hidden + i * n;
    T* after = i < s.next_rows ? s.next_hidden + i * n : s.last_hidden + s.sample[i] * n;
    T* y = s.y + s.sample[i] * s.y_sample;
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      const auto r = Sigmoid(d, load(reset));
      const auto z = Sigmoid(d, load(update));
      const auto f = Tanh(d, hn::MulAdd(r, load(product), load(fresh)));
      const auto h = hn::MulAdd(z, hn::Sub(load(before), f), f);
      store(f, fresh);
      store(r, reset);
      store(z, update);
      store(h, after);
      store(h, y);
    });
  }
}

template <class T>
void gru_backward(const GateStepBackward<T>& s) {
  const hn::ScalableTag<T> d;
  const int64_t n = s.width;
  const auto one = hn::Set(d, T{1});
  for (int64_t i = s.first; i < s.rows; i += s.every) {
    T* fresh = s.gates + i * 4 * n;
    T* reset = fresh + n;
    T* update = fresh + 2 * n;
    T* product = fresh + 3 * n;
    const T* before = s.hidden + i * n;
    const T* dy = s.dy == nullptr ? nullptr : s.dy + s.sample[i] * s.dy_sample;
    T* dstate = s.dhidden + i * n;
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      // h = f + z (h' - f), f = tanh(a + r p)
      // dh' = dh z, dz = dh (h' - f), df = dh (1 - z), da = df (1 - f^2), dr = da p, dp = da r
      auto dh = load(dstate);
      if (dy != nullptr) dh = hn::Add(dh, load(dy));
      const auto f = load(fresh);
      const auto r = load(reset);
      const auto z = load(update);
      const auto da = hn::Mul(hn::Mul(dh, hn::Sub(one, z)), hn::NegMulAdd(f, f, one));
      const auto dr = hn::Mul(hn::Mul(da, load(product)), hn::Mul(r, hn::Sub(one, r)));
      const auto dz = hn::Mul(hn::Mul(dh, hn::Sub(load(before), f)), hn::Mul(z, hn::Sub(one, z)));
      const auto dp = hn::Mul(da, r);
      store(hn::Mul(dh, z), dstate);
      store(da, fresh);
      store(dr, reset);
      store(dz, update);
      store(dp, product);
      store(hn::Add(load(s.sums), da), s.sums);
      store(hn::Add(load(s.sums + n), dr), s.sums + n);
      store(hn::Add(load(s.sums + 2 * n), dz), s.sums + 2 * n);
      store(hn::Add(load(s.sums + 3 * n), dp), s.sums + 3 * n);
    });
  }
}

template <class T>
void lstm_forward(const GateStep<T>& s) {
  const hn::ScalableTag<T> d;
  const int64_t n = s.width;
  for (int64_t i = s.first; i < s.rows; i += s.every) {
    T* input = s.gates + i * 4 * n;
    T* forget = input + n;
    T* fresh = input + 2 * n;
    T* output = input + 3 * n;
    const T* before = s.cell + i * n;
    const bool goes_on = i < s.next_rows;
    T* after = goes_on ? s.next_hidden + i * n : s.last_hidden + s.sample[i] * n;
    T* cell = goes_on ? s.next_cell + i * n : s.last_cell + s.sample[i] * n;
    T* y = s.y + s.sample[i] * s.y_sample;
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      const auto in = Sigmoid(d, load(input));
      const auto f = Sigmoid(d, load(forget));
      const auto g = Tanh(d, load(fresh));
      const auto o = Sigmoid(d, load(output));
      const auto c = hn::MulAdd(f, load(before), hn::Mul(in, g));
      const auto h = hn::Mul(o, Tanh(d, c));
      store(in, input);
      store(f, forget);
      store(g, fresh);
      store(o, output);
      store(c, cell);
      store(h, after);
      store(h, y);
    });
  }
}

template <class T>
void lstm_backward(const GateStepBackward<T>& s) {
  const hn::ScalableTag<T> d;
  const int64_t n = s.width;
  const auto one = hn::Set(d, T{1});
  for (int64_t i = s.first; i < s.rows; i += s.every) {
    T* input = s.gates + i * 4 * n;
    T* forget = input + n;
    T* fresh = input + 2 * n;
    T* output = input + 3 * n;
    const T* before = s.cell + i * n;
    const T* dy = s.dy == nullptr ? nullptr : s.dy + s.sample[i] * s.dy_sample;
    T* dstate = s.dhidden + i * n;
    T* dcell = s.dcell + i * n;
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      // c = f c' + i g, h = o tanh(c)
      // do = dh tanh(c), dc += dh o (1 - tanh(c)^2), di = dc g, df = dc c', dg = dc i, dc' = dc f
      auto dh = load(dstate);
      if (dy != nullptr) dh = hn::Add(dh, load(dy));
      const auto in = load(input);
      const auto f = load(forget);
      const auto g = load(fresh);
      const auto o = load(output);
      const auto c_before = load(before);
      const auto bent = Tanh(d, hn::MulAdd(f, c_before, hn::Mul(in, g)));
      const auto dc = hn::MulAdd(hn::Mul(dh, o), hn::NegMulAdd(bent, bent, one), load(dcell));
      const auto di = hn::Mul(hn::Mul(dc, g), hn::Mul(in, hn::Sub(one, in)));
      const auto df = hn::Mul(hn::Mul(dc, c_before), hn::Mul(f, hn::Sub(one, f)));
      const auto dg = hn::Mul(hn::Mul(dc, in), hn::NegMulAdd(g, g, one));
      const auto dout = hn::Mul(hn::Mul(dh, bent), hn::Mul(o, hn::Sub(one, o)));
      store(hn::Mul(dc, f), dcell);
      store(di, input);
      store(df, forget);
      store(dg, fresh);
      store(dout, output);
      store(hn::Add(load(s.sums), di), s.sums);
      store(hn::Add(load(s.sums + n), df), s.sums + n);
      store(hn::Add(load(s.sums + 2 * n), dg), s.sums + 2 * n);
      store(hn::Add(load(s.sums + 3 * n), dout), s.sums + 3 * n);
    });
  }
}

template <class T>
void forward(RecurrentCell cell, const GateStep<T>& s) {
  cell == RecurrentCell::kGru ? gru_forward(s) : lstm_forward(s);
}

template <class T>
void backward(RecurrentCell cell, const GateStepBackward<T>& s) {
  cell == RecurrentCell::kGru ? gru_backward(s) : lstm_backward(s);
}

void forward_float(RecurrentCell cell, const GateStep<float>& s) { forward(cell, s); }
void forward_double(RecurrentCell cell, const GateStep<double>& s) { forward(cell, s); }
void backward_float(RecurrentCell cell, const GateStepBackward<float>& s) { backward(cell, s); }
void backward_double(RecurrentCell cell, const GateStepBackward<double>& s) { backward(cell, s); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

void gate_step(RecurrentCell cell, const GateStep<float>& step) { HWY_DYNAMIC_DISPATCH(forward_float)(cell, step); }
void gate_step(RecurrentCell cell, const GateStep<double>& step) { HWY_DYNAMIC_DISPATCH(forward_double)(cell, step); }
void gate_step_backward(RecurrentCell cell, const GateStepBackward<float>& step) {
  HWY_DYNAMIC_DISPATCH(backward_float)(cell, step);
}
void gate_step_backward(RecurrentCell cell, const GateStepBackward<double>& step) {
  HWY_DYNAMIC_DISPATCH(backward_double)(cell, step);
}

}  // namespace attune::cpu
#endif
