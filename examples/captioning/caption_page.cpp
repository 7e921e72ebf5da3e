#include "examples/captioning/caption_page.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "datasets/image_transform.h"
#include "examples/captioning/overlay.h"
#include "framework/fail.h"

namespace attune::examples::captioning {
namespace {

// clang-format off
constexpr std::string_view kPageHead = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --panel: #fff; --text: #1d2126; --quiet: #5d6672; --line: #d9dce0; --ask: 29 98 215;
}
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #14171b; --panel: #1c2026; --text: #e8eaed; --quiet: #9aa4b1; --line: #353c46; --ask: 96 156 245; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 1100px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 20px; margin: 18px 0 10px; overflow-wrap: anywhere; }
h2 { font-size: 13px; font-weight: 600; color: var(--quiet); margin: 0 0 10px; overflow-wrap: anywhere; }
section { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px 18px;
  margin-bottom: 18px; }
.columns { display: grid; grid-template-columns: minmax(160px, 360px) minmax(0, 1fr); gap: 22px; align-items: center; }
@media (max-width: 700px) { .columns { grid-template-columns: minmax(0, 1fr); } }
svg { display: block; width: 100%; height: auto; isolation: isolate; border-radius: 4px; }
.light { mix-blend-mode: multiply; }
.sentence { font-size: 22px; line-height: 1.7; margin: 0; overflow-wrap: anywhere; }
.sentence button { font: inherit; color: inherit; background: none; border: 0; border-radius: 5px; padding: 0 4px;
  margin: 0; max-width: 100%; cursor: pointer; }
.sentence .current { background: rgb(var(--ask) / .22); }
.sentence [aria-pressed="true"] { box-shadow: 0 0 0 2px rgb(var(--ask)); }
:focus-visible { outline: 2px solid rgb(var(--ask)); outline-offset: 1px; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 12px; margin-top: 16px; }
figure { margin: 0; }
figure[data-word] { cursor: pointer; }
figcaption { text-align: center; overflow-wrap: anywhere; line-height: 1.3; padding-top: 3px; min-height: 1.5em; }
figure.current figcaption { font-weight: 700; }
.quiet { color: var(--quiet); font-size: 13px; }
footer { padding-bottom: 24px; }
@media print {
  :root { --page: #fff; --panel: #fff; --text: #000; --quiet: #444; --line: #bbb; }
  body { font-size: 11pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  header, main { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 10px 0; margin: 0;
    break-inside: avoid; }
  .columns { grid-template-columns: minmax(0, 1fr); }
  .columns svg, footer { display: none; }
  .sentence { font-size: 14pt; }
  .strip { grid-template-columns: repeat(6, 1fr); margin-top: 8px; }
}
</style>
)html";

constexpr std::string_view kPageTail = R"html(</main>
<footer class="quiet">
  Point at a word to see where the model looked while it wrote it: bright is where it looked most. A click keeps the
  word, another one lets it go; so do the keys Tab and Enter.
</footer>
<script>
"use strict";
for (const section of document.querySelectorAll("section")) {
  const large = section.querySelector(".columns .light");
  const lights = [...section.querySelectorAll(".strip .light")];  // one for each word
  const places = section.querySelectorAll("[data-word]");         // its buttons in the sentence and in the strip
  let kept = -1;
  const show = (word) => {
    if (word < 0) large.removeAttribute("href");
    else large.setAttribute("href", lights[word].getAttribute("href"));
    for (const place of places) {
      place.classList.toggle("current", Number(place.dataset.word) === word);
      if (place.tagName === "BUTTON") place.setAttribute("aria-pressed", Number(place.dataset.word) === kept);
    }
  };
  for (const place of places) {
    const word = Number(place.dataset.word);
    place.addEventListener("pointerenter", () => show(word));
    place.addEventListener("pointerleave", () => show(kept));
    place.addEventListener("focus", () => show(word));
    place.addEventListener("blur", () => show(kept));
    place.addEventListener("click", () => {
      kept = kept === word ? -1 : word;
      show(word);
    });
  }
}
</script>
</body>
</html>
)html";
// clang-format on

/// The picture as an address that holds it: base64 of a PNG file.
std::string data_address(const Image& image) {
  const std::string bytes = encode_png(image);
  std::string base64((bytes.size() + 2) / 3 * 4 + 1, '\0');  // the last byte is the end of a C string
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(base64.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  base64.pop_back();
  return "data:image/png;base64," + base64;
}

/// Text that may stand between tags and in quoted attributes.
std::string html_text(std::string_view text) {
  std::string html;
  for (const char c : text) {
    constexpr std::string_view kSpecial = "&<>\"'";
    if (kSpecial.find(c) == std::string_view::npos) {
      html += c;
    } else {
      html += fmt::format("&#{};", static_cast<int>(c));
    }
  }
  return html;
}

void check_caption(const ShownCaption& caption, RegionGrid grid) {
  require<ValueError>(caption.picture.height > 0 && caption.picture.width > 0,
                      "caption_page: picture '{}' has no pixels, expected some", caption.name);
  if (!caption.weights.defined()) return;
  const Shape expected{std::ssize(caption.words), grid.count()};
  require<ShapeError>(caption.weights.shape() == expected, "caption_page: weights of '{}' are {}, expected {}",
                      caption.name, caption.weights.shape(), expected);
}

/// What lies over the picture for each word.
std::vector<std::string> lights_of(const ShownCaption& caption, RegionGrid grid) {
  std::vector<std::string> lights;
  if (!caption.weights.defined()) return lights;
  for (int64_t t = 0; t < std::ssize(caption.words); ++t) {
    lights.push_back(data_address(attention_light(caption.weights.select(0, t).to_vector<float>(), grid)));
  }
  return lights;
}

/// An element <image> over all of a picture; attributes: more of its own.
std::string image_element(const Image& picture, const std::string& attributes) {
  return fmt::format("<image width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" {}/>", picture.width,
                     picture.height, attributes);
}

std::string drawing(const Image& picture, const std::string& label, const std::string& content) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}</svg>", picture.width,
                     picture.height, label, content);
}

/// number: of the picture on the page.
std::string section_of(const ShownCaption& caption, size_t number, int64_t side, RegionGrid grid) {
  const Image picture = at_most(caption.picture, side);
  const bool looks = caption.weights.defined();
  const std::vector<std::string> lights = lights_of(caption, grid);
  const std::string name = html_text(caption.name);
  const std::string id = fmt::format("picture{}", number);
  const std::string large = image_element(picture, fmt::format("id=\"{}\" href=\"{}\"", id, data_address(picture))) +
                            (looks ? image_element(picture, "class=\"light\"") : "");
  std::string html = fmt::format("<section>\n<h2>{}</h2>\n<div class=\"columns\">\n{}\n<p class=\"sentence\">", name,
                                 drawing(picture, name, large));
  for (size_t i = 0; i < caption.words.size(); ++i) {
    if (i > 0) html += ' ';
    const std::string word = html_text(caption.words[i]);
    html += looks ? fmt::format("<button type=\"button\" data-word=\"{}\" aria-pressed=\"false\">{}</button>", i, word)
                  : word;
  }
  html += "</p>\n</div>\n<div class=\"strip\">\n";
  // In the strip the picture is the one above, drawn again.
  const std::string again = fmt::format("<use href=\"#{}\"/>", id);
  html += fmt::format("<figure>{}<figcaption></figcaption></figure>\n", drawing(picture, name, again));
  for (size_t i = 0; i < lights.size(); ++i) {
    const std::string word = html_text(caption.words[i]);
    const std::string light = image_element(picture, fmt::format("class=\"light\" href=\"{}\"", lights[i]));
    html += fmt::format("<figure data-word=\"{}\">{}<figcaption>{}</figcaption></figure>\n", i,
                        drawing(picture, word, again + light), word);
  }
  html += "</div>\n";
  if (!looks) html += "<p class=\"quiet\">This model does not look at regions of a picture.</p>\n";
  return html + "</section>\n";
}

}  // namespace

Image at_most(const Image& picture, int64_t side) {
  const int64_t longer = std::max(picture.height, picture.width);
  if (longer <= side) return picture;
  const auto scaled = [&](int64_t extent) { return std::max<int64_t>(1, (extent * side + longer / 2) / longer); };
  return resize(picture, scaled(picture.height), scaled(picture.width));
}

std::string caption_page(std::span<const ShownCaption> captions, RegionGrid grid, const CaptionPageOptions& options) {
  require<ValueError>(!captions.empty(), "caption_page: no captions given, expected at least 1");
  for (const ShownCaption& caption : captions) check_caption(caption, grid);
  const std::string title = html_text(options.title);
  for (const int64_t side : {512, 360, 256, 180, 128, 90, 64}) {
    std::string page(kPageHead);
    page += fmt::format("<title>{0}</title>\n</head>\n<body>\n<header><h1>{0}</h1></header>\n<main>\n", title);
    for (size_t i = 0; i < captions.size() && page.size() <= options.max_bytes; ++i) {
      page += section_of(captions[i], i + 1, side, grid);
    }
    page += kPageTail;
    if (page.size() <= options.max_bytes) return page;
  }
  fail<ValueError>("caption_page: {} captions do not fit into {} bytes, even with small pictures; give fewer",
                   captions.size(), options.max_bytes);
}

}  // namespace attune::examples::captioning
