-- `require "reload"`, as existing servers spell it. It is `require "hotreload"`.
return require "hotreload"
