-- docs/cookbook.md, docs/api.md, docs/guide.md and docs/hosts.md: what they show is run;
-- spec/support/document.lua says how.

local document = require "spec.support.document"

document.specs("docs/cookbook.md", _ENV)
document.specs("docs/api.md", _ENV)
document.specs("docs/guide.md", _ENV)
document.specs("docs/hosts.md", _ENV)
