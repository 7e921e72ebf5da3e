#include "framework/math/print.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include "framework/fail.h"
#include "framework/math/rearrange.h"

namespace attune {
namespace {

constexpr size_t kLineWidth = 80;

// What is shown of a tensor: its elements as texts of equal width.
class Shown {
 public:
  Shown(const Tensor& x, const PrintOptions& options) : options_(options) {
    Tensor part = x;
    for (int axis = 0; axis < x.rank(); ++axis) {
      const bool shortened = x.numel() > options.threshold && x.dim(axis) > 2 * options.edge_items;
      shortened_.push_back(shortened);
      if (!shortened) continue;
      part = concat({part.slice(axis, 0, options.edge_items),
                     part.slice(axis, part.dim(axis) - options.edge_items, part.dim(axis))},
                    axis);
    }
    shape_ = part.shape();
    texts_ = is_floating(x.dtype()) ? of_floats(part) : of_integers(part);
    for (const std::string& text : texts_) width_ = std::max(width_, text.size());
  }

  std::string brackets() {
    std::string out;
    append(0, out);
    return out;
  }

 private:
  std::vector<std::string> of_floats(const Tensor& x) const {
    const std::vector<double> values = x.to(DType::kFloat64).to_vector<double>();
    double least = INFINITY;
    double most = 0;
    bool integral = true;
    for (const double value : values) {
      if (!std::isfinite(value)) continue;
      integral = integral && std::trunc(value) == value;
      if (value == 0) continue;
      least = std::min(least, std::abs(value));
      most = std::max(most, std::abs(value));
    }
    // As NumPy and PyTorch choose.
    const bool spread = most >= 1e8 || (!integral && (least < 1e-4 || most / least > 1e3));
    std::vector<std::string> texts;
    for (const double value : values) {
      if (!std::isfinite(value)) {
        texts.push_back(fmt::format("{}", value));
      } else if (most > 0 && spread) {
        texts.push_back(fmt::format("{:.{}e}", value, options_.precision));
      } else {
        texts.push_back(integral ? fmt::format("{:.0f}.", value) : fmt::format("{:.{}f}", value, options_.precision));
      }
    }
    return texts;
  }

  static std::vector<std::string> of_integers(const Tensor& x) {
    std::vector<std::string> texts;
    if (x.dtype() == DType::kBool) {
      for (const bool value : x.to_vector<bool>()) texts.emplace_back(value ? "true" : "false");
    } else {
      for (const int64_t value : x.to_vector<int64_t>()) texts.push_back(std::to_string(value));
    }
    return texts;
  }

  // The elements from next_ on, along this axis and those within it.
  void append(int axis, std::string& out) {
    if (axis == shape_.rank()) {
      out += fmt::format("{:>{}}", texts_[next_++], width_);
      return;
    }
    out += '[';
    for (int64_t i = 0; i < shape_[axis]; ++i) {
      if (i > 0) separate(axis, i, out);
      if (shortened_[static_cast<size_t>(axis)] && i == options_.edge_items) {
        out += "...";
        separate(axis, i, out);
      }
      append(axis + 1, out);
    }
    out += ']';
  }

  void separate(int axis, int64_t i, std::string& out) const {
    out += ',';
    const auto indent = static_cast<size_t>(axis) + 1;
    const int inner = shape_.rank() - 1 - axis;
    const auto in_line = static_cast<int64_t>((kLineWidth - indent) / (width_ + 2));
    if (inner > 0) {
      out.append(static_cast<size_t>(inner), '\n').append(indent, ' ');
    } else if (i % std::max<int64_t>(1, in_line) == 0) {
      out.append("\n").append(indent, ' ');
    } else {
      out += ' ';
    }
  }

  const PrintOptions& options_;
  Shape shape_;
  std::vector<bool> shortened_;
  std::vector<std::string> texts_;
  size_t width_ = 0;
  size_t next_ = 0;
};

}  // namespace

std::string to_string(const Tensor& x, const PrintOptions& options) {
  if (!x.defined()) return x.to_string();
  require<ValueError>(options.edge_items >= 1 && options.precision >= 0,
                      "to_string: edge_items {} and precision {} given, expected at least 1 and 0", options.edge_items,
                      options.precision);
  return Shown(x, options).brackets() + " " + x.to_string();
}

std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << to_string(x); }

}  // namespace attune
