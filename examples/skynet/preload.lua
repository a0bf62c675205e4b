-- The file that the configuration names as `preload`: it runs in each service, before all else.
require "hotreload.hosts.skynet"
require "hotreload" -- so that a plan knows what the files said when they were loaded
