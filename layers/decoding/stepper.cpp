#include "layers/decoding/stepper.h"

#include <algorithm>
#include <cmath>

#include "framework/fail.h"
#include "framework/math/reduce.h"

namespace attune {

Stepper::Stepper(const char* who, Generation& generation, const DecodingOptions& options)
    : who_(who),
      generation_(generation),
      options_(options),
      sources_(generation.batch()),
      vocabulary_(generation.vocabulary()) {
  const auto check_token = [&](const char* name, int64_t token) {
    require<ValueError>(token >= 0 && token < vocabulary_, "{}: {} is {}, expected a token, 0 to {}", who_, name, token,
                        vocabulary_ - 1);
  };
  check_token("bos", options_.bos);
  check_token("eos", options_.eos);
  for (const int64_t token : options_.forbidden) {
    check_token("a forbidden token", token);
    require<ValueError>(token != options_.eos, "{}: eos = {} is forbidden; no sequence could end", who_, token);
  }
  if (options_.bos != options_.eos) options_.forbidden.push_back(options_.bos);

  const auto limits = std::ssize(options_.max_length);
  require<ValueError>(limits == 1 || limits == sources_,
                      "{}: {} maximum lengths for {} sources, expected one for each, or one for all", who_, limits,
                      sources_);
  for (const int64_t limit : options_.max_length) {
    require<ValueError>(limit > 0, "{}: a maximum length of {}, expected 1 or more", who_, limit);
  }
  require<ValueError>(options_.min_length >= 0, "{}: min_length is {}, expected 0 or more", who_, options_.min_length);
  require<ValueError>(options_.no_repeat_ngram >= 0, "{}: no_repeat_ngram is {}, expected 0 or more", who_,
                      options_.no_repeat_ngram);
}

Tensor Stepper::step(const std::vector<int64_t>& tokens) {
  const auto rows = std::ssize(tokens);
  Tensor logits = generation_.step(Tensor::from(tokens, {rows})).to(Device::cpu());
  ++steps_;
  require<ShapeError>(logits.shape() == Shape{rows, vocabulary_}, "{}: the logits of step {} are {}, expected {}", who_,
                      steps_, logits.shape(), Shape{rows, vocabulary_});
  if (logits.dtype() == DType::kBFloat16) logits = logits.to(DType::kFloat32);
  return logits.contiguous();
}

std::vector<double> Stepper::log_sums(const Tensor& logits) const {
  std::vector<double> values = log_normalizer(logits).to_vector<double>();
  const auto bad = std::find_if(values.begin(), values.end(), [](double sum) { return !std::isfinite(sum); });
  require<ValueError>(bad == values.end(),
                      "{}: the logits of step {}, row {} hold NaN, +infinity or nothing but -infinity; the model's "
                      "parameters or its input are not finite",
                      who_, steps_, bad - values.begin());
  return values;
}

void Stepper::select(const std::vector<int64_t>& rows) {
  bool same = std::ssize(rows) == generation_.batch();
  for (size_t i = 0; same && i < rows.size(); ++i) same = rows[i] == static_cast<int64_t>(i);
  if (!same) generation_.select(Tensor::from(rows, {std::ssize(rows)}));
}

void Stepper::banned(int64_t length, std::span<const int64_t> history, std::vector<int64_t>& tokens) const {
  tokens = options_.forbidden;
  if (length < options_.min_length) tokens.push_back(options_.eos);
  const int64_t n = options_.no_repeat_ngram;
  if (n == 0 || length < n) return;
  const auto recent = history.last(static_cast<size_t>(n - 1));
  for (size_t i = 0; i + recent.size() < history.size(); ++i) {
    if (std::equal(recent.begin(), recent.end(), history.begin() + static_cast<std::ptrdiff_t>(i))) {
      tokens.push_back(history[i + recent.size()]);
    }
  }
}

}  // namespace attune
