// Turns titles into parts of addresses.
function slugify(title) {
  return title.trim().toLowerCase().replace(' ', '-');
}

module.exports = { slugify };
